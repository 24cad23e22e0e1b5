"""grpc's handlers of rpcs: their kinds, how one is called, how its request is decoded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from kinemask_chassis import errors
from kinemask_chassis.validation import validate

# grpc hands messages of any type through the same doors; its classes are generic for mypy alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Behavior: TypeAlias = Callable[[Any, Any], Any]
Decode: TypeAlias = Callable[[bytes], Any]

MAKERS: dict[tuple[bool, bool], tuple[str, Callable[..., Handler]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


async def answer(result: Any, context: Context) -> object:
    """Wait for a coroutine's response, or write an async generator's, one by one."""
    if inspect.isawaitable(result):
        return await result
    if not hasattr(result, "__aiter__"):
        return result  # stubs that raise, and other plain functions
    async with aclosing(result) as responses:
        async for response in responses:
            await context.write(response)
    return None


def validated(behavior: Behavior, decode: Decode) -> Behavior:
    """`behavior`, taking the request's bytes and refusing one that breaks its limits."""

    def serve(raw: bytes, context: Context) -> object:
        request = decode(raw)
        if isinstance(request, Message):
            validate(request)
        return behavior(request, context)

    return serve


def strict(decode: Decode | None) -> Decode | None:
    """`decode`, with bytes that are no message answered as the client's mistake."""
    if decode is None:
        return None

    def decode_strictly(raw: bytes) -> object:
        try:
            return decode(raw)
        except DecodeError:
            raise errors.ServiceError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"expected a message of this rpc's request type, got {len(raw)} other bytes",
                reason="UNDECODABLE_MESSAGE",
            ) from None

    return decode_strictly
