"""What the faces service's rpcs are built on."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from kinemask_chassis import errors
from kinemask_chassis.database import Connection

from kinemask_faces.access import GalleryAccess
from kinemask_faces.engines.registry import Chosen, FaceModels
from kinemask_faces.gallery import galleries
from kinemask_faces.gallery.records import Done, GalleryModel, RequestKey
from kinemask_faces.looking import FaceLooker
from kinemask_faces.model_keys import key_of
from kinemask_faces.requests import check_text
from kinemask_faces.runner import ModelRunner
from kinemask_faces.sources import FaceSources

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
ReplyT = TypeVar("ReplyT", bound=Message)


@dataclass(frozen=True)
class FaceParts:
    """Models, their threads, and the galleries."""

    models: FaceModels
    runners: Mapping[str, ModelRunner]
    """One for each model, by name."""
    looker: FaceLooker
    sources: FaceSources
    access: GalleryAccess

    def runner(self, choice: Chosen) -> ModelRunner:
        """The thread of a model."""
        return self.runners[choice.model.info.name]

    async def once(
        self,
        request: Message,
        reply_type: type[ReplyT],
        work: Callable[[Connection], Awaitable[Done]],
    ) -> ReplyT:
        """Do a change, or give the answer that the same request got before.

        Raises:
            ServiceError: what `work` raised; see `GalleryStore.once`.
        """
        check_text(request)
        return reply_type.FromString(await self.access.store.once(request_key(request), work))

    async def gallery_runners(self, gallery_id: str) -> list[ModelRunner]:
        """Of every model that the gallery's samples need a vector of, the default first.

        Raises:
            ServiceError: NOT_FOUND (gallery); FAILED_PRECONDITION: a model is not here, or has
                other weights than those the gallery is embedded for.
        """
        async with self.access.store.read() as connection:
            known = await galleries.models(connection, gallery_id)
        return [self._ready(model) for model in known]

    async def search_runner(self, gallery_id: str, model: str) -> ModelRunner:
        """Of the model that a gallery is to be searched with.

        Raises:
            ServiceError: NOT_FOUND (gallery or model), FAILED_PRECONDITION: the model is not here,
                or the gallery is not embedded for it, reason NOT_EMBEDDED.
        """
        async with self.access.store.read() as connection:
            known = await galleries.models(connection, gallery_id)
        if model in ("", "auto"):
            return self._ready(known[0])
        wanted = self.models.choose(model).model.info.name
        found = next((entry for entry in known if entry.key.name == wanted), None)
        if found is None or not found.complete:
            raise errors.failed_precondition(
                f"gallery {gallery_id} is not embedded for {wanted}, only for "
                f"{', '.join(entry.key.name for entry in known)}; ReembedGallery does that",
                reason="NOT_EMBEDDED",
            )
        return self._ready(found)

    def _ready(self, model: GalleryModel) -> ModelRunner:
        choice = self.models.choose(model.key.name)
        here = key_of(choice.model.info)
        if here != model.key:
            raise errors.failed_precondition(
                f"the gallery is embedded for revision {model.key.revision} of {here.name}, but "
                f"this service has revision {here.revision}; ReembedGallery embeds it anew",
                reason="OTHER_REVISION",
                model=here.name,
            )
        return self.runner(choice)


def request_key(request: Message) -> RequestKey:
    """How a request is known again: by its request_id and content."""
    request_id: str = request.request_id  # type: ignore[attr-defined]  # of every request that changes
    content = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    return RequestKey(request.DESCRIPTOR.full_name, request_id, content)
