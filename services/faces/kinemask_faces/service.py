"""The faces service: what it registers, warms up, drains and frees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from kinemask.v1 import faces_pb2_grpc
from kinemask_chassis.database import Database
from kinemask_chassis.server import Service
from kinemask_chassis.streams import StreamLimits

from kinemask_faces.access import GalleryAccess
from kinemask_faces.engines.registry import FaceModels, load_models
from kinemask_faces.gallery.metrics import RecallCounters
from kinemask_faces.looking import FaceLooker
from kinemask_faces.parts import FaceParts
from kinemask_faces.runner import ModelRunner
from kinemask_faces.servicer import FacesServicer
from kinemask_faces.settings import FacesSettings
from kinemask_faces.sources import FaceSources


class FacesService(Service[FacesSettings]):
    """Whose face it is. `models` replaces those of the settings, in tests and benchmarks."""

    name = "faces"
    rpc_services = ("kinemask.v1.FacesService",)

    def __init__(self, settings: FacesSettings, models: FaceModels | None = None) -> None:
        """Raises WrongWeightsError, FileNotFoundError or ValueError; see `load_models`."""
        super().__init__(settings)
        models = models or load_models(settings.files)
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="faces")
        self.runners = {
            name: ModelRunner(model, settings.batching, self.metrics.queue(name))
            for name, model in models.models.items()
        }
        looker = FaceLooker(self._executor, settings.max_pixels, settings.faces_max_in_work)
        self._access = GalleryAccess(_database(settings), RecallCounters(self.metrics.registry))
        sources = FaceSources(looker, self._access.tokens)
        self.servicer = FacesServicer(
            FaceParts(models, self.runners, looker, sources, self._access),
            StreamLimits.of(settings),
            self.metrics.frames("EnrolStream"),
            self.metrics.frames("RecogniseStream"),
        )

    def register(self, server: grpc.aio.Server) -> None:
        faces_pb2_grpc.add_FacesServiceServicer_to_server(self.servicer, server)

    async def warm_up(self) -> None:
        """Pay every model's first-call costs; connect to the galleries' database."""
        await self._access.open()
        for runner in self.runners.values():
            await runner.warm_up()

    async def on_drain(self, grace_s: float) -> None:
        await self.servicer.streams.drain(grace_s)

    async def close(self) -> None:
        for runner in self.runners.values():
            await runner.close()
        await self._access.close()
        self._executor.shutdown(wait=False, cancel_futures=True)


def _database(settings: FacesSettings) -> Database | None:
    """The server by URL, or the one embedded in the data folder; None without galleries."""
    if settings.faces_galleries == "off":
        return None
    return Database(
        settings.database_url,
        settings.data_dir,
        max_connections=settings.faces_database_connections,
    )
