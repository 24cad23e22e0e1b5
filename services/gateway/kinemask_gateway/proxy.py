"""The services behind the gateway, reachable at its own address.

Messages pass as bytes; statuses, details and metadata pass as they are. A request is read from the
client only when the service has taken the one before it, so nothing piles up here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
from kinemask_chassis import errors

from kinemask_gateway.downstream.pool import SERVICES, ReplicaPool

_HOP_METADATA = ("grpc-", "user-agent", "te", "content-type", ":")


class PassThrough(grpc.GenericRpcHandler):
    """Serves every rpc of the services behind the gateway.

    All arities look alike on the wire, so each rpc is treated as a stream of bytes both ways.
    """

    def __init__(self, pools: Mapping[str, ReplicaPool]) -> None:
        self._pools = {SERVICES[name]: pool for name, pool in pools.items() if pool.configured}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        pool = self._pools.get(method.strip("/").partition("/")[0])
        if pool is None:
            return None
        forward = _Forward(method, pool)
        return grpc.stream_stream_rpc_method_handler(forward.run)


class _Forward:
    """One method of one service."""

    def __init__(self, method: str, pool: ReplicaPool) -> None:
        self._method = method
        self._pool = pool

    async def run(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Forward one rpc to the next replica."""
        channel = self._pool.next_channel()
        rpc: Any = channel.stream_stream(self._method)
        call = rpc(timeout=context.time_remaining(), metadata=_forwarded(context))
        upwards = asyncio.create_task(_upwards(requests, call))
        try:
            await _downwards(call, context)
        except grpc.aio.AioRpcError as error:
            await _abort(context, error)
        finally:
            upwards.cancel()
            await asyncio.wait([upwards])
            call.cancel()


async def _upwards(requests: Any, call: Any) -> None:
    try:
        async for request in requests:
            await call.write(request)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return  # the service ended the rpc; its status comes on the way down


async def _downwards(call: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.send_initial_metadata(_clean(await call.initial_metadata()))
    while (reply := await call.read()) is not grpc.aio.EOF:
        await context.write(reply)
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            code,
            await call.initial_metadata(),
            await call.trailing_metadata(),
            await call.details(),
        )
    context.set_trailing_metadata(_clean(await call.trailing_metadata()))


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: grpc.aio.AioRpcError) -> None:
    await errors.abort(context, error)


def _forwarded(context: grpc.aio.ServicerContext[Any, Any]) -> tuple[tuple[str, Any], ...]:
    return _clean(context.invocation_metadata())


def _clean(metadata: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((key, value) for key, value in metadata or () if not key.startswith(_HOP_METADATA))
