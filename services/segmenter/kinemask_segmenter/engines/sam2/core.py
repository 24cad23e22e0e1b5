"""The stream core: encodes a frame, prompts and tracks objects on it with SAM 2's own layers.

Algorithm: Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024), in the order of
operations of the official `SAM2VideoPredictor`, so that results are equal bit for bit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch

from kinemask_segmenter.engines.base import FrameGoneError
from kinemask_segmenter.engines.sam2.holes import fill_holes
from kinemask_segmenter.engines.sam2.memory import ObjectMemory, Output

_NO_END = 1 << 62
"""Stands for the number of frames: a stream has none, and the model takes min(frames, 16)."""
_LOGIT_LIMIT = 32.0


class MemoryPolicy(Enum):
    """What a correction of a tracked frame does."""

    EXACT = "exact"
    """It becomes conditioning and lasts."""
    OFFICIAL = "official"
    """It shows on its frame and is forgotten, as in the official predictor's default."""


@dataclass(frozen=True)
class CoreConfig:
    """Settings of a stream."""

    max_conditioning: int = 8
    """Conditioning frames per object, at least 2; the first is never dropped."""
    retained_frames: int = 4
    """Encoded frames kept for late prompts, at least 1."""
    fill_hole_area_px: int = 8
    """In low-resolution pixels; 0 is the official predictor without its CUDA extension."""
    policy: MemoryPolicy = MemoryPolicy.EXACT


@dataclass(frozen=True)
class Points:
    """Clicks in pixels of the model's input; a box is its two corners, labels 2 and 3, first."""

    xy: torch.Tensor
    """`(1, N, 2)` float32."""
    labels: torch.Tensor
    """`(1, N)` int32: 1 on the object, 0 beside it."""

    def to(self, device: torch.device) -> Points:
        return Points(self.xy.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Encoded:
    """Features of one frame."""

    features: list[torch.Tensor]
    """Three levels `(H_i * W_i, 1, C_i)`."""
    positions: list[torch.Tensor]
    sizes: list[tuple[int, int]]


class StreamCore:
    """State of one video. Objects share encoded frames and nothing else.

    Frames are counted from 0. Invariant: `_frames` has the newest `retained_frames` frames, oldest
    first, and each object's memory reaches far enough back to track any of them again.
    """

    def __init__(self, model: Any, config: CoreConfig | None = None) -> None:
        """`model` is a `sam2` `SAM2Base` in eval mode; it is only read.

        Raises:
            ValueError: fewer than 2 conditioning frames or 1 retained frame.
        """
        self._model = model
        self._config = config or CoreConfig()
        if self._config.retained_frames < 1:
            raise ValueError(f"expected 1 retained frame or more, got {self._config}")
        ObjectMemory(self._config.max_conditioning)
        self._frames: OrderedDict[int, Encoded] = OrderedDict()
        self._objects: dict[int, ObjectMemory] = {}
        self._position: torch.Tensor | None = None
        self._next = 0

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted(self._objects))

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors kept between frames, the retained frames included."""
        frames: int = sum(
            each.numel() * each.element_size()
            for frame in self._frames.values()
            for each in (*frame.features, *frame.positions)
        )
        return frames + sum(each.state_bytes for each in self._objects.values())

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self._model.device
        return device

    @property
    def next_index(self) -> int:
        """The index that the next frame will get."""
        return self._next

    @property
    def memories(self) -> dict[int, ObjectMemory]:
        """What is remembered, by object id; for a snapshot."""
        return dict(self._objects)

    def memory_position(self) -> torch.Tensor:
        """The position encoding that goes with every memory map, float32 `(1, 64, S/16, S/16)`."""
        if self._position is None:
            side = self._model.image_size // self._model.backbone_stride
            like = torch.zeros(1, self._model.mem_dim, side, side, device=self.device)
            with torch.inference_mode():
                self._position = self._model.memory_encoder.position_encoding(like).to(like.dtype)
        return self._position

    def restore(self, next_index: int, memories: Mapping[int, ObjectMemory]) -> None:
        """Go on from a snapshot, before the first frame."""
        self._next = next_index
        self._objects = dict(memories)

    def clear(self) -> None:
        """Let go of frames and objects."""
        self._frames.clear()
        self._objects.clear()

    def add_frame(self, image: torch.Tensor) -> int:
        """Encode the next frame `(3, S, S)` float32, normalised; returns its index.

        Objects known already are not moved: see `track`.
        """
        with torch.inference_mode():
            encoded = self._model.forward_image(image.unsqueeze(0).to(self.device))
            _, features, positions, sizes = self._model._prepare_backbone_features(encoded)
        index, self._next = self._next, self._next + 1
        self._frames[index] = Encoded(features, positions, sizes)
        if len(self._frames) > self._config.retained_frames:
            self._frames.popitem(last=False)
        return index

    def track(self, index: int, object_ids: Sequence[int] | None = None) -> dict[int, torch.Tensor]:
        """As `carry`, but low-resolution logits `(1, 1, S/4, S/4)` by id alone."""
        return {key: each.logits for key, each in self.carry(index, object_ids).items()}

    def carry(self, index: int, object_ids: Sequence[int] | None = None) -> dict[int, Output]:
        """Carry objects to a retained frame; what is there of each, by id.

        Raises:
            FrameGoneError: the frame is not retained.
        """
        frame = self._frame(index)
        ids = self.object_ids if object_ids is None else object_ids
        return {key: self._track(index, frame, self._objects[key]) for key in ids}

    def prompt(
        self, index: int, object_id: int, points: Points | None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `say`, but low-resolution logits alone."""
        return self.say(index, object_id, points, mask).logits

    def say(
        self, index: int, object_id: int, points: Points | None, mask: torch.Tensor | None = None
    ) -> Output:
        """Start or correct an object on a retained frame and carry it forward to the newest.

        `mask` is `(1, 1, S, S)` float32 of 0 and 1. Exactly one of `points` and `mask` is given.
        On a frame that was tracked already, clicks refine the mask there; on the one that the
        object began on, they begin it again as if all had been said at once. Returns what is on
        frame `index`; other objects are not touched.

        Raises:
            FrameGoneError: the frame is not retained.
            ValueError: both or none of `points` and `mask`.
        """
        if (points is None) == (mask is None):
            raise ValueError("expected either points or a mask, got both or none")
        frame = self._frame(index)
        slack = self._config.retained_frames
        memory = self._objects.get(object_id) or ObjectMemory(self._config.max_conditioning, slack)
        previous = memory.at(index)
        begins = previous is None or self._begins_again(index, memory, previous)
        output = self._run(index, frame, memory, points, mask, previous, begins)
        if begins or self._config.policy is MemoryPolicy.EXACT:
            output = replace(self._remember_prompted(frame, output), began=begins)
            memory.condition(index, output)
            self._objects[object_id] = memory
            for later in [key for key in self._frames if key > index]:
                self._track(later, self._frames[later], memory)
        return output

    def remove(self, object_id: int) -> bool:
        """Forget an object; False if there is none of that id."""
        return self._objects.pop(object_id, None) is not None

    # --- inside

    def _frame(self, index: int) -> Encoded:
        if index not in self._frames:
            raise FrameGoneError(index, tuple(self._frames))
        return self._frames[index]

    def _begins_again(self, index: int, memory: ObjectMemory, previous: Output) -> bool:
        """Whether a frame that has an output is prompted as if it had none.

        The official predictor does so until the video was propagated over the frame.
        """
        if self._config.policy is MemoryPolicy.OFFICIAL:
            return previous.began and not any(key > index for key in memory.recent)
        return previous.began

    def _track(self, index: int, frame: Encoded, memory: ObjectMemory) -> Output:
        prompted = memory.conditioning.get(index)
        if prompted is not None:
            return prompted
        output = self._run(index, frame, memory, None, None, None, follows=True)
        memory.follow(index, output)
        return output

    def _run(
        self,
        index: int,
        frame: Encoded,
        memory: ObjectMemory,
        points: Points | None,
        mask: torch.Tensor | None,
        previous: Output | None,
        begins: bool = False,
        follows: bool = False,
    ) -> Output:
        clicks = None if points is None else _clicks(points)
        feedback = None
        if clicks is not None and previous is not None:
            feedback = previous.logits.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
        with torch.inference_mode():
            found = self._model.track_step(
                frame_idx=index,
                is_init_cond_frame=begins,
                current_vision_feats=frame.features,
                current_vision_pos_embeds=frame.positions,
                feat_sizes=frame.sizes,
                point_inputs=clicks,
                mask_inputs=mask,
                output_dict=memory.view(index),
                num_frames=_NO_END,
                run_mem_encoder=follows,
                prev_sam_mask_logits=feedback,
            )
            logits = fill_holes(found["pred_masks"], self._config.fill_hole_area_px)
        output = Output(logits, found["obj_ptr"], found["object_score_logits"])
        if not follows:
            return output
        return self._stored(output, found["maskmem_features"], found["maskmem_pos_enc"])

    def _remember_prompted(self, frame: Encoded, output: Output) -> Output:
        """With memory, made from the mask as it is shown: holes filled, upsampled, binarised."""
        size = self._model.image_size
        with torch.inference_mode():
            shown = torch.nn.functional.interpolate(
                output.logits, size=(size, size), mode="bilinear", align_corners=False
            )
            features, positions = self._model._encode_new_memory(
                current_vision_feats=frame.features,
                feat_sizes=frame.sizes,
                pred_masks_high_res=shown,
                object_score_logits=output.object_score,
                is_mask_from_pts=True,
            )
        return self._stored(output, features, positions)

    def _stored(
        self, output: Output, features: torch.Tensor, positions: Sequence[torch.Tensor]
    ) -> Output:
        if self._position is None:
            self._position = positions[-1].clone()
        # The official predictor keeps memory as bfloat16 in every precision.
        kept = features.to(torch.bfloat16)
        return replace(output, memory=kept, memory_position=self._position)


def _clicks(points: Points) -> dict[str, torch.Tensor]:
    return {"point_coords": points.xy, "point_labels": points.labels}
