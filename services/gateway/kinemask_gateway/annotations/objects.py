"""Objects of a session: renamed, recoloured, removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kinemask.v1 import annotations_pb2 as pb

from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations import records
from kinemask_gateway.annotations.editing import Draft, Editor
from kinemask_gateway.annotations.masks import MaskStore, chunk_rows, mask_counts
from kinemask_gateway.library.messages import plain_text
from kinemask_gateway.library.sql import Connection, Connects


class Objects:
    """Changes what is known of a session's objects."""

    def __init__(self, database: Connects, editor: Editor, masks: MaskStore) -> None:
        self._database = database
        self._editor = editor
        self._masks = masks

    async def update(self, request: pb.UpdateObjectRequest) -> pb.UpdateObjectResponse:
        """UpdateObject; errors as annotations.proto says."""
        plain_text("label", request.label)

        async def work(draft: Draft) -> Callable[[int], pb.UpdateObjectResponse]:
            say.check_objects([request.object_id], draft.objects)
            entry = draft.objects[request.object_id]
            if request.HasField("label"):
                entry = replace(entry, label=request.label)
            if request.HasField("color_rgb"):
                entry = replace(entry, color_rgb=request.color_rgb)
            draft.update(entry)
            async with self._database.connection() as connection:
                rows = await chunk_rows(connection, request.session_id)
            masked = mask_counts(rows.values()).get(entry.object_id, 0)
            prompted = draft.prompted.get(entry.object_id, [])
            message = say.object_message(entry, prompted, masked)
            return lambda revision: pb.UpdateObjectResponse(object=message)

        return await self._editor.apply(request, pb.UpdateObjectResponse, work)

    async def remove(self, request: pb.RemoveObjectRequest) -> pb.RemoveObjectResponse:
        """RemoveObject; errors as annotations.proto says."""
        object_id = request.object_id

        async def work(draft: Draft) -> Callable[[int], pb.RemoveObjectResponse]:
            say.check_objects([object_id], draft.objects)
            session = draft.session
            async for number, entries in self._masks.chunks(
                session.session_id, 0, session.last_frame
            ):
                if object_id in entries:
                    draft.put(number, object_id, None)
            del draft.objects[object_id]

            async def gone(connection: Connection) -> None:
                await records.remove_object(connection, session.session_id, object_id)

            draft.writes.append(gone)
            return lambda revision: pb.RemoveObjectResponse(revision=revision)

        return await self._editor.apply(request, pb.RemoveObjectResponse, work)
