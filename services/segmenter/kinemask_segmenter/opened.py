"""A stream of an engine, and what the service has to know of its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

from kinemask_chassis import errors

from kinemask_segmenter.engines.base import AnyStream, FrameGoneError


@dataclass(frozen=True)
class Opened:
    """Invariant: `captured_us` has no more frames than can be prompted, oldest first."""

    stream: AnyStream
    height: int
    width: int
    window: int
    """Recent frames that can be prompted."""
    captured_us: dict[int, int] = field(default_factory=dict)
    """Capture time of each of those frames."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def stepped(self, frame_id: int, capture_time_us: int) -> None:
        """The newest frame was worked on."""
        self.captured_us[frame_id] = capture_time_us
        if len(self.captured_us) > self.window:
            del self.captured_us[next(iter(self.captured_us))]


def frame_gone(error: FrameGoneError, window: int) -> errors.ServiceError:
    """What a client is told of a frame that is not retained."""
    span = f"{error.retained[0]}..{error.retained[-1]}" if error.retained else "none"
    return errors.not_found(
        str(error), reason="FRAME_GONE", retained=span, window=str(error.window or window)
    )
