"""Annotation sessions as ordinary methods."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from kinemask.annotate import _decode, _operations
from kinemask.annotate.types import (
    AnnotatedFrame,
    DirectionName,
    Overlay,
    Prompted,
    PropagationProgress,
    Session,
    SessionObject,
    SessionOptions,
    SessionPrompt,
)
from kinemask.client._calls import Operation, ResultT
from kinemask.config import Effect
from kinemask.types import Prompt
from kinemask.v1.annotations_pb2_grpc import AnnotationServiceStub

if TYPE_CHECKING:
    from kinemask.stored._calls import Calls


class Annotations:
    """Opens sessions on stored videos, prompts, propagates, looks; `client.annotate`.

    Every method raises KinemaskError. A session is stored as it is changed: it is there again after
    any restart, until it is closed. Frames are counted from 0, ranges include both ends.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    # --- sessions

    def open(
        self,
        video_id: str,
        *,
        name: str = "",
        options: SessionOptions | None = None,
        track_job_id: str = "",
    ) -> Session:
        """A new session; with a track job, one that begins with its objects and masks."""
        return self._run(
            _operations.open_session(video_id, name, options or SessionOptions(), track_job_id)
        )

    def get(self, session_id: str) -> Session:
        """One session, with its objects."""
        return self._run(_operations.get(session_id))

    def list(self, *, video_id: str = "") -> Iterator[Session]:
        """The sessions, newest first, fetched a page at a time."""
        request = _operations.sessions_request(video_id)
        for page in self._pages("ListSessions", request):
            yield from map(_decode.session, page.sessions)

    def resume(self, session_id: str) -> Session:
        """Wake a session now; the next call on it would do so too."""
        return self._run(_operations.resume(session_id))

    def close(self, session_id: str) -> None:
        """Remove a session for good, with its prompts and masks."""
        self._run(_operations.close(session_id))

    # --- prompts and objects

    def prompt(
        self,
        session_id: str,
        frame: int,
        prompts: Sequence[Prompt],
        *,
        label: str = "",
        replace: bool = False,
    ) -> Prompted:
        """Say where objects are on a frame: new ones, or corrections.

        Args:
            session_id: the session.
            frame: which, from 0.
            prompts: an `object_id` of 0 makes a new object.
            label: what to call new objects.
            replace: take back what was said of these objects on the frame before.
        """
        return self._run(_operations.prompt(session_id, frame, prompts, label, replace))

    def prompts(
        self,
        session_id: str,
        *,
        first_frame: int | None = None,
        last_frame: int | None = None,
        object_ids: Sequence[int] = (),
    ) -> Iterator[SessionPrompt]:
        """What was said, by frame, then in the order it was said."""
        request = _operations.prompts_request(session_id, first_frame, last_frame, object_ids)
        for page in self._pages("ListPrompts", request):
            yield from map(_decode.session_prompt, page.prompts)

    def clear(
        self,
        session_id: str,
        *,
        object_id: int = 0,
        frame: int | None = None,
        masks: bool = False,
    ) -> int:
        """Take prompts back: of one object or all, on one frame or all; how many.

        `masks`: forget the objects' masks on those frames too.
        """
        return self._run(_operations.clear(session_id, object_id, frame, masks))

    def remove_prompts(
        self, session_id: str, prompt_ids: Sequence[int]
    ) -> tuple[AnnotatedFrame, ...]:
        """Take single prompts back; the frames they were on, as they are now."""
        return self._run(_operations.remove_prompts(session_id, prompt_ids))

    def update_object(
        self,
        session_id: str,
        object_id: int,
        *,
        label: str | None = None,
        color: tuple[int, int, int] | None = None,
    ) -> SessionObject:
        """Change how an object is called or drawn; None leaves it as it is."""
        return self._run(_operations.update_object(session_id, object_id, label, color))

    def remove_object(self, session_id: str, object_id: int) -> None:
        """Remove an object with its prompts and masks."""
        self._run(_operations.remove_object(session_id, object_id))

    # --- masks

    def propagate(
        self,
        session_id: str,
        *,
        first_frame: int | None = None,
        last_frame: int | None = None,
        direction: DirectionName = "both",
        object_ids: Sequence[int] = (),
        only_stale: bool = False,
        on_progress: Callable[[PropagationProgress], None] | None = None,
    ) -> PropagationProgress:
        """Carry masks from the prompted frames over a range; returns when it is done.

        Interrupted, it stops within a second, and what is done stays done: the same call with
        `only_stale` goes on.

        Args:
            session_id: the session.
            first_frame: by default the video's first.
            last_frame: included; by default the video's last.
            direction: both, forwards or backwards.
            object_ids: only these; by default all.
            only_stale: pass over frames whose masks are not older than their prompts.
            on_progress: called at least once a second.
        """
        last: PropagationProgress | None = None
        steps = self.steps(
            session_id,
            first_frame=first_frame,
            last_frame=last_frame,
            direction=direction,
            object_ids=object_ids,
            only_stale=only_stale,
        )
        with closing(steps):
            for last in steps:
                if on_progress is not None:
                    on_progress(last)
        assert last is not None  # a call that ends well has said so
        return last

    def steps(
        self,
        session_id: str,
        *,
        first_frame: int | None = None,
        last_frame: int | None = None,
        direction: DirectionName = "both",
        object_ids: Sequence[int] = (),
        only_stale: bool = False,
        include_masks: bool = False,
    ) -> Generator[PropagationProgress, None, None]:
        """The same, as it goes; with `include_masks` each frame's masks. Closing it stops it."""
        request = _operations.propagate_request(
            session_id, first_frame, last_frame, direction, object_ids, only_stale, include_masks
        )
        for answer in self._calls.stream(AnnotationServiceStub, "Propagate", request):
            yield _decode.progress(answer)

    def cancel(self, session_id: str) -> int:
        """Stop the session's propagation, whoever began it; the frames it had done."""
        return self._run(_operations.cancel(session_id))

    def masks(
        self,
        session_id: str,
        *,
        first_frame: int | None = None,
        last_frame: int | None = None,
        object_ids: Sequence[int] = (),
    ) -> Iterator[AnnotatedFrame]:
        """The masks of a range, frame by frame; frames without any are left out."""
        request = _operations.masks_request(session_id, first_frame, last_frame, object_ids)
        for answer in self._calls.stream(AnnotationServiceStub, "GetMasks", request):
            yield _decode.frame(answer.frame)

    def overlay(
        self,
        session_id: str,
        frame: int,
        *,
        object_ids: Sequence[int] = (),
        effects: Sequence[Effect | str] = (),
        show_prompts: bool = False,
        max_side_px: int = 0,
    ) -> Overlay:
        """A frame with its masks drawn in, a JPEG; by default tinted and outlined."""
        return self._run(
            _operations.overlay(session_id, frame, object_ids, effects, show_prompts, max_side_px)
        )

    def _run(self, operation: Operation[ResultT]) -> ResultT:
        return self._calls.run(operation, None)

    def _pages(self, method: str, request: Any) -> Iterator[Any]:
        while True:
            page = self._run(_operations.page(method, request))
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
