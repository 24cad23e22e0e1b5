"""Names for the faces and people of a live stream, from the faces service's stream behind it.

Live, a frame's names are asked for beside its masks, one frame at a time, and appear on later
frames. Where frames wait for their detections (stored video), they wait for their names too, and
every frame is looked at.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from kinemask import effects
from kinemask.v1 import faces_pb2, faces_pb2_grpc, live_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.downstream import call_options

from kinemask_gateway.downstream import ReplicaPool
from kinemask_gateway.downstream.contract import ContractStream
from kinemask_gateway.downstream.unanswered import EditRefused, FrameFailed, StreamLost
from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.reporting import FrameReports
from kinemask_gateway.live.side import SideStage

DEFAULT_BUDGET_MS = 30
_LIVE_RECHECK_FRAMES = 5
_WINDOW = 4
_KNOWN = (faces_pb2.FACE_DECISION_KNOWN, faces_pb2.FACE_DECISION_STRANGER)
_NOBODY = live_pb2.ObjectName(decided=True)
"""Decided to be nobody known."""
_SPOKEN_AGAINST = -1.0
"""Similarity of an undecided object whose face on this very frame is like nobody's, or whose name
was withdrawn: a name that comes later is not to be given to this frame."""

Recognised = faces_pb2.RecogniseStreamResult


@dataclass(frozen=True)
class _Asked:
    """One frame and what is on it."""

    frame: faces_pb2.RecogniseFrame


class Naming:
    """The names of one stream's objects.

    Invariant: frames reach the faces service in frame order, one at a time.
    """

    def __init__(
        self, pool: ReplicaPool, config: live_pb2.FacesStage, wait: bool, open_timeout_s: float
    ) -> None:
        """`config` with its defaults filled in; `wait`: frames wait for their names."""
        self._pool = pool
        self._open_timeout_s = open_timeout_s
        self._wait = wait
        self._config = _stream_config(config)
        self._stream: ContractStream | None = None
        self._names: dict[int, live_pb2.ObjectName] = {}
        self._had_name: set[int] = set()
        self._last_frame_id = -1
        self._turn = asyncio.Lock()
        self._side: SideStage[_Asked, Recognised] = SideStage(
            live_pb2.STAGE_FACES, 1, self._ask, self._take
        )

    async def open(self, token: bytes = b"") -> media_pb2.ServiceInfo:
        """Open the stream, going on from a token if there is one.

        Raises:
            grpc.aio.AioRpcError: the service refused, or is not there.
            LookupError: there is no faces service.
            StreamLost: it ended the stream without a word.
        """

        def dial() -> grpc.aio.StreamStreamCall[
            faces_pb2.RecogniseStreamRequest, faces_pb2.RecogniseStreamResponse
        ]:
            stub = faces_pb2_grpc.FacesServiceStub(self._pool.next_channel())
            return stub.RecogniseStream(**call_options().as_arguments())

        stream = ContractStream(dial, faces_pb2.RecogniseStreamRequest, self._config)
        async with asyncio.timeout(self._open_timeout_s):
            started = await stream.open(token)
        self._stream = stream
        service: media_pb2.ServiceInfo = started.terms.service
        return service

    async def name(
        self, frame: media_pb2.Frame, result: live_pb2.StreamResult, reports: FrameReports
    ) -> None:
        """Give the objects of a frame's result their names, as far as they are known.

        Waits for the faces service only where frames wait for their names.
        """
        regions = list(_regions(result.objects))
        asked = _Asked(
            faces_pb2.RecogniseFrame(
                frame_id=frame.frame_id,
                image=frame.image,
                capture_time_us=frame.capture_time_us,
                regions=regions,
            )
        )
        if self._wait:
            await self._name_now(asked, reports)
        elif regions:
            self._side.offer(frame.frame_id, asked, reports)
        for entry in result.objects:
            if entry.object_id in self._names:
                entry.name.CopyFrom(self._names[entry.object_id])
        self._forget_all_but(entry.object_id for entry in result.objects)

    async def correct(self, object_id: int, person_id: str, is_person: bool) -> int:
        """An object is a certain person, or is not.

        Raises:
            ServiceError: the faces service refuses, or is not there.
        """
        identity = faces_pb2.TrackIdentity(track_id=object_id, person_id=person_id)
        edit = faces_pb2.RecogniseStreamEdit(
            # With the gallery it is what a repeat is known by, over all streams.
            edit_id=secrets.randbits(63) | 1,
            frame_id=max(self._last_frame_id, 0),
            is_person=identity if is_person else None,
            not_person=None if is_person else identity,
        )
        try:
            await (await (await self._serving()).send_edit(edit))
        except EditRefused as refused:
            raise errors.from_status(refused.status) from refused
        except (StageDown, StreamLost) as down:
            why = f"no faces service now: {down}"
            raise errors.unavailable(why, reason="FACES_DOWN", retry_after_s=1.0) from down
        self._names.pop(object_id, None)
        return object_id

    async def snapshot(self) -> bytes:
        """A token for the state now; empty if there is none."""
        if self._stream is None:
            return b""
        try:
            async with asyncio.timeout(self._open_timeout_s):
                return bytes((await (await self._stream.snapshot())).resume_token)
        except (StreamLost, TimeoutError):
            return b""

    @property
    def names(self) -> Mapping[int, live_pb2.ObjectName]:
        """By object."""
        return self._names

    def go_on_with(self, names: Mapping[int, live_pb2.ObjectName]) -> None:
        """The names of the stream that this one resumes."""
        self._names.update(names)

    async def close(self) -> None:
        """Give up what is under way. Idempotent."""
        self._side.close()
        if self._stream is not None:
            await self._stream.close()

    async def _name_now(self, asked: _Asked, reports: FrameReports) -> None:
        async with self._turn:
            self._names = {}  # nothing of an earlier frame may uncover anybody
            try:
                with reports.timed(live_pb2.STAGE_FACES) as report:
                    self._take(asked.frame.frame_id, await self._ask(asked, report))
            except StageDown as down:
                reports.degrade(live_pb2.STAGE_FACES, down.error.to_status())

    async def _ask(self, asked: _Asked, report: live_pb2.StageReport) -> Recognised:
        """What the faces service says of one frame.

        Raises:
            StageDown: it is not there, refused the frame, or its database is away.
        """
        frame = asked.frame
        if frame.frame_id <= self._last_frame_id:
            raise StageDown(errors.aborted("the frame came out of order", reason="LATE_FRAME"))
        self._last_frame_id = frame.frame_id
        try:
            result: Recognised = await (await (await self._serving()).send_frame(frame))
        except FrameFailed as failed:
            raise StageDown(errors.from_status(failed.status)) from failed
        except StreamLost as lost:
            self._stream = None
            raise StageDown(_down(lost)) from lost
        report.timing.CopyFrom(result.timing)
        if result.HasField("degraded"):
            report.degraded.CopyFrom(result.degraded)
        return result

    def _take(self, frame_id: int, result: Recognised) -> None:
        for track in result.tracks:
            key, undecided = track.track_id, track.decision == faces_pb2.FACE_DECISION_UNDECIDED
            withdrawn = undecided and key in self._had_name
            self._names[key] = _name_of(track, withdrawn)
            if not undecided:
                self._had_name.add(key)

    def _forget_all_but(self, object_ids: Iterable[int]) -> None:
        kept = set(object_ids)
        self._names = {key: name for key, name in self._names.items() if key in kept}
        self._had_name &= kept

    async def _serving(self) -> ContractStream:
        if self._stream is None or self._stream.lost:
            try:
                await self.open()
            except (grpc.aio.AioRpcError, StreamLost, LookupError, TimeoutError) as error:
                raise StageDown(_down(error)) from error
        if self._stream is None:
            raise StageDown(_down(StreamLost(None)))
        return self._stream


def fill_in_faces(stage: live_pb2.FacesStage, wait: bool) -> None:
    """The stage's defaults: live, names have 30 ms a frame; where frames wait, all they need."""
    if not wait:
        stage.budget_ms = stage.budget_ms or DEFAULT_BUDGET_MS
    recheck = 1 if wait else _LIVE_RECHECK_FRAMES
    stage.votes.recheck_every_n_frames = stage.votes.recheck_every_n_frames or recheck


def _stream_config(stage: live_pb2.FacesStage) -> faces_pb2.RecogniseStreamConfig:
    options = faces_pb2.RecogniseOptions(gallery_id=stage.gallery_id, model=stage.model)
    if stage.HasField("threshold"):
        options.threshold = stage.threshold
    if stage.HasField("min_margin"):
        options.min_margin = stage.min_margin
    if stage.HasField("enrol_strangers"):
        options.enrol_strangers.CopyFrom(stage.enrol_strangers)
    config = faces_pb2.RecogniseStreamConfig(
        options=options,
        votes=stage.votes,
        tracking=faces_pb2.FACE_TRACKING_CLIENT,
        budget_ms=stage.budget_ms,
    )
    config.stream.window = _WINDOW
    return config


def _regions(objects: Iterable[live_pb2.LiveObject]) -> Iterable[faces_pb2.FaceRegion]:
    """The objects that may have a name."""
    for entry in objects:
        words = f"{entry.label} {entry.prompt}"
        if entry.HasField("box") and effects.is_nameable(words):
            person = effects.is_person(words)
            kind = faces_pb2.REGION_KIND_PERSON if person else faces_pb2.REGION_KIND_FACE
            yield faces_pb2.FaceRegion(track_id=entry.object_id, box=entry.box, kind=kind)


def _name_of(track: faces_pb2.RecognisedTrack, withdrawn: bool) -> live_pb2.ObjectName:
    """What is told of a track: a name, nobody, or nothing yet."""
    if track.decision in _KNOWN:
        best = track.best
        return live_pb2.ObjectName(
            person_id=best.person_id,
            name=best.display_name,
            similarity=best.similarity,
            decided=True,
            action=best.action if best.HasField("action") else None,
        )
    if track.decision == faces_pb2.FACE_DECISION_UNKNOWN:
        return _NOBODY
    strange = track.observation.decision == faces_pb2.FACE_DECISION_UNKNOWN
    against = strange or withdrawn
    return live_pb2.ObjectName(similarity=_SPOKEN_AGAINST if against else track.best.similarity)


def _down(error: BaseException) -> errors.ServiceError:
    why = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
    return errors.unavailable(f"no faces service names anybody now: {why}", reason="FACES_DOWN")
