"""Repeated requests: the same request id gets the first answer again, for 24 hours."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from kinemask_chassis import errors

from kinemask_gateway.library.sql import Connection, change, one

AnswerT = TypeVar("AnswerT", bound=Message)


async def recall(
    connection: Connection, request: Message, answer_type: type[AnswerT], owner_id: str = ""
) -> AnswerT | None:
    """The answer that this request got before, or None: then it is to be done now.

    Requests of one id wait here for each other until the transaction ends. A request without an id
    is always new.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason REQUEST_ID_REUSED: it came with other content.
    """
    request_id, method = _named(request)
    if not request_id:
        return None
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))",
        (f"{method}\n{owner_id}\n{request_id}",),
    )
    row = await one(
        connection,
        "SELECT content, answer FROM gateway.answers WHERE method = %s AND owner_id = %s "
        "AND request_id = %s AND since > now() - interval '24 hours'",
        *(method, owner_id, request_id),
    )
    if row is None:
        return None
    if bytes(row["content"]) != _content(request):
        raise errors.ServiceError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"request_id {request_id} came before with another content",
            reason="REQUEST_ID_REUSED",
        )
    return answer_type.FromString(bytes(row["answer"]))


async def remember(
    connection: Connection, request: Message, answer: Message, owner_id: str = ""
) -> None:
    """Keep the answer; it counts if the transaction does."""
    request_id, method = _named(request)
    if request_id:
        await change(
            connection,
            "INSERT INTO gateway.answers (method, owner_id, request_id, content, answer) "
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (method, owner_id, request_id) DO UPDATE "
            "SET content = excluded.content, answer = excluded.answer, since = now()",
            *(method, owner_id, request_id, _content(request), answer.SerializeToString()),
        )


async def forget_old(connection: Connection) -> None:
    """Remove answers that are over their time."""
    await change(
        connection, "DELETE FROM gateway.answers WHERE since < now() - interval '24 hours'"
    )


def _named(request: Message) -> tuple[str, str]:
    request_id: str = getattr(request, "request_id")  # noqa: B009 - of every request that changes
    return request_id, request.DESCRIPTOR.full_name


def _content(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
