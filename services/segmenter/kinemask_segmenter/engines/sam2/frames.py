"""The encoded frames that a stream retains: the newest on the device, older ones where there is
more room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch

from kinemask_segmenter.engines.base import FrameGoneError
from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.memory import Output

_HOST = torch.device("cpu")


class FrameStore:
    """Invariants: at most `length` frames, oldest first, ascending by index; the newest `near` of
    them lie on the device, with what attention has worked out of them."""

    def __init__(self, length: int, near: int, device: torch.device) -> None:
        """Raises ValueError: a length below 1."""
        if length < 1:
            raise ValueError(f"expected 1 retained frame or more, got {length}")
        self.length = length
        self.near = min(max(near, 1), length)
        self._device = device
        self._frames: OrderedDict[int, Encoded] = OrderedDict()
        self._positions: list[torch.Tensor] | None = None

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __getitem__(self, index: int) -> Encoded:
        """A frame, on the device.

        Raises:
            FrameGoneError: it is not retained.
        """
        return moved(self.stored(index), self._device)

    def stored(self, index: int) -> Encoded:
        """A frame, wherever it lies.

        Raises:
            FrameGoneError: it is not retained.
        """
        if index not in self._frames:
            raise FrameGoneError(index, list(self._frames), self.length)
        return self._frames[index]

    def add(self, index: int, frame: Encoded) -> int | None:
        """Retain the newest frame; the index of the one that had to go, if one had to."""
        # The same for every frame of a model, and larger than all features together.
        self._positions = self._positions or frame.positions[-1:]
        frame.positions = self._positions
        self._frames[index] = frame
        gone = self._frames.popitem(last=False)[0] if len(self._frames) > self.length else None
        self._send_away()
        return gone

    @property
    def sends_away(self) -> bool:
        """True if older frames, and what was found on them, belong into host memory."""
        return self.near < self.length

    def clear(self) -> None:
        self._frames.clear()

    @property
    def state_bytes(self) -> int:
        """Bytes of all frames, what they share counted once."""
        tensors = [each for f in self._frames.values() for each in (*f.features, *f.attended)]
        shared = self._positions or []
        return sum(each.numel() * each.element_size() for each in (*tensors, *shared))

    def _send_away(self) -> None:
        for index in list(self._frames)[: -self.near][-1:]:
            away = moved(self._frames[index], _HOST)
            # Attention's part is worked out again when it is needed, to the same bits.
            self._frames[index] = Encoded(away.features, away.positions, away.sizes)


def moved(frame: Encoded, device: torch.device) -> Encoded:
    """The frame with its features on a device; itself if they are there already."""
    if frame.features[0].device == device:
        return frame
    features = [each.to(device) for each in frame.features]
    return Encoded(features, frame.positions, frame.sizes)


def output_on(output: Output, device: torch.device) -> Output:
    """What was found on a frame, on a device; itself if it is there already."""
    if output.pointer.device == device:
        return output
    return Output(
        None if output.low_res_logits is None else output.low_res_logits.to(device),
        output.pointer.to(device),
        output.object_score.to(device),
        None if output.memory is None else output.memory.to(device),
        output.began,
    )
