"""People: made, listed, changed, removed, merged and unmerged."""

from __future__ import annotations

from kinemask.v1 import faces_pb2, faces_pb2_grpc
from kinemask_chassis.database import Connection

from kinemask_faces.gallery import merges, people
from kinemask_faces.gallery.records import (
    Done,
    NewPerson,
    PageQuery,
    PeopleFilter,
    PersonChanges,
)
from kinemask_faces.gallery_messages import (
    action_from_message,
    merge_to_message,
    person_to_message,
)
from kinemask_faces.parts import Context, FaceParts
from kinemask_faces.requests import check_name, check_new_id, check_text, metadata_json


class PeopleServicer(faces_pb2_grpc.FacesServiceServicer):
    """One of the classes that `FacesServicer` is put together from."""

    _parts: FaceParts

    async def CreatePerson(
        self, request: faces_pb2.CreatePersonRequest, context: Context
    ) -> faces_pb2.CreatePersonResponse:
        new = NewPerson(
            display_name=check_name("display_name", request.display_name),
            person_id=check_new_id("person_id", request.person_id),
            metadata_json=metadata_json(request.metadata),
            action=action_from_message(request.action),
        )

        async def work(connection: Connection) -> Done:
            made = await people.create(connection, request.gallery_id, new)
            reply = faces_pb2.CreatePersonResponse(person=person_to_message(made))
            return Done(reply.SerializeToString(), request.gallery_id, (made.person_id,))

        return await self._parts.once(request, faces_pb2.CreatePersonResponse, work)

    async def GetPerson(
        self, request: faces_pb2.GetPersonRequest, context: Context
    ) -> faces_pb2.GetPersonResponse:
        check_text(request)
        async with self._parts.access.store.read() as connection:
            found = await people.get(connection, request.gallery_id, request.person_id)
        return faces_pb2.GetPersonResponse(person=person_to_message(found))

    async def ListPeople(
        self, request: faces_pb2.ListPeopleRequest, context: Context
    ) -> faces_pb2.ListPeopleResponse:
        check_text(request)
        wanted = PeopleFilter(
            request.name_contains, request.stranger if request.HasField("stranger") else None
        )
        query = PageQuery(request.page_size, request.page_token)
        async with self._parts.access.store.read() as connection:
            page = await people.page(connection, request.gallery_id, wanted, query)
        return faces_pb2.ListPeopleResponse(
            people=map(person_to_message, page.entries), next_page_token=page.next_token
        )

    async def UpdatePerson(
        self, request: faces_pb2.UpdatePersonRequest, context: Context
    ) -> faces_pb2.UpdatePersonResponse:
        changes = _changes(request)

        async def work(connection: Connection) -> Done:
            changed = await people.update(
                connection, request.gallery_id, request.person_id, changes
            )
            reply = faces_pb2.UpdatePersonResponse(person=person_to_message(changed))
            return Done(reply.SerializeToString(), request.gallery_id, (changed.person_id,))

        return await self._parts.once(request, faces_pb2.UpdatePersonResponse, work)

    async def DeletePerson(
        self, request: faces_pb2.DeletePersonRequest, context: Context
    ) -> faces_pb2.DeletePersonResponse:
        async def work(connection: Connection) -> Done:
            gone = await people.delete(connection, request.gallery_id, request.person_id)
            reply = faces_pb2.DeletePersonResponse(sample_count=gone.sample_count)
            return Done(reply.SerializeToString())

        return await self._parts.once(request, faces_pb2.DeletePersonResponse, work)

    async def MergePeople(
        self, request: faces_pb2.MergePeopleRequest, context: Context
    ) -> faces_pb2.MergePeopleResponse:
        async def work(connection: Connection) -> Done:
            person, merge = await merges.merge(
                connection, request.gallery_id, request.person_id, request.merged_person_ids
            )
            reply = faces_pb2.MergePeopleResponse(
                person=person_to_message(person), merge=merge_to_message(merge)
            )
            everybody = (request.person_id, *request.merged_person_ids)
            return Done(reply.SerializeToString(), request.gallery_id, everybody)

        return await self._parts.once(request, faces_pb2.MergePeopleResponse, work)

    async def UnmergePeople(
        self, request: faces_pb2.UnmergePeopleRequest, context: Context
    ) -> faces_pb2.UnmergePeopleResponse:
        async def work(connection: Connection) -> Done:
            back = await merges.unmerge(connection, request.gallery_id, request.merge_id)
            reply = faces_pb2.UnmergePeopleResponse(people=map(person_to_message, back))
            everybody = tuple(person.person_id for person in back)
            return Done(reply.SerializeToString(), request.gallery_id, everybody)

        return await self._parts.once(request, faces_pb2.UnmergePeopleResponse, work)

    async def ListMerges(
        self, request: faces_pb2.ListMergesRequest, context: Context
    ) -> faces_pb2.ListMergesResponse:
        check_text(request)
        query = PageQuery(request.page_size, request.page_token)
        async with self._parts.access.store.read() as connection:
            page = await merges.page(connection, request.gallery_id, request.include_undone, query)
        return faces_pb2.ListMergesResponse(
            merges=map(merge_to_message, page.entries), next_page_token=page.next_token
        )


def _changes(request: faces_pb2.UpdatePersonRequest) -> PersonChanges:
    named = request.HasField("display_name")
    given = request.HasField("metadata")
    acts = request.HasField("action")
    return PersonChanges(
        display_name=check_name("display_name", request.display_name) if named else None,
        metadata_json=metadata_json(request.metadata) if given else None,
        action=action_from_message(request.action) if acts else None,
    )
