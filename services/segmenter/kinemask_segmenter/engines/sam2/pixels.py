"""Between frames, prompts and masks at the video's size and SAM 2's tensors at the model's.

Every step is the official `SAM2VideoPredictor`'s: its frame loading (`load_video_frames` on a
folder of pictures), `add_new_points_or_box`, `add_new_mask` and `_get_orig_video_res_output`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from torch.nn.functional import interpolate

from kinemask_segmenter.engines.base import BoolMask, Image, ObjectMask, Prompt
from kinemask_segmenter.engines.sam2.forward import Points
from kinemask_segmenter.engines.sam2.memory import Output

_MEAN = torch.tensor((0.485, 0.456, 0.406), dtype=torch.float32)[:, None, None]
_STD = torch.tensor((0.229, 0.224, 0.225), dtype=torch.float32)[:, None, None]


def to_input(image: Image, size: int) -> torch.Tensor:
    """`(3, size, size)` float32, normalised, of an RGB picture of any shape."""
    resized = np.array(PilImage.fromarray(image).resize((size, size))) / 255.0
    pixels = torch.from_numpy(resized).permute(2, 0, 1).to(torch.float32)
    return (pixels - _MEAN) / _STD


def to_points(prompt: Prompt, height: int, width: int, size: int) -> Points:
    """A prompt's box and points in pixels of the model's input."""
    corners = np.zeros((0, 2), np.float32)
    if prompt.box_xyxy is not None:
        corners = np.array(prompt.box_xyxy, np.float32).reshape(2, 2)
    labels = [2, 3][: len(corners)] + [int(each) for each in prompt.positive]
    xy = torch.from_numpy(np.concatenate([corners, prompt.points_xy.astype(np.float32)]))
    scaled = xy.unsqueeze(0) / torch.tensor([width, height]) * size
    return Points(scaled, torch.tensor([labels], dtype=torch.int32))


def to_mask_input(mask: BoolMask, size: int) -> torch.Tensor:
    """`(1, 1, size, size)` float32 of 0 and 1."""
    whole = torch.from_numpy(mask)[None, None].float()
    if whole.shape[-2:] == (size, size):
        return whole
    small = interpolate(
        whole, size=(size, size), align_corners=False, mode="bilinear", antialias=True
    )
    return (small >= 0.5).float()


def to_object_mask(object_id: int, output: Output, height: int, width: int) -> ObjectMask:
    """The mask at the video's size.

    The score is the model's belief that the object is there, times its mean belief in the pixels of
    the mask; 0 without a mask.
    """
    logits = output.logits.float()
    if logits.shape[-2:] != (height, width):
        logits = interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    mask = (logits[0, 0] > 0).cpu().numpy()
    return measured(object_id, mask, _confidence(output))


def measured(object_id: int, mask: NDArray[np.bool_], score: float) -> ObjectMask:
    """With box and area; a mask without a pixel has no box and score 0."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if len(columns) == 0:
        return ObjectMask(object_id, mask, 0.0, None, 0)
    ends = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    x_min, y_min, x_max, y_max = (float(end) for end in ends)
    return ObjectMask(object_id, mask, score, (x_min, y_min, x_max, y_max), int(mask.sum()))


def _confidence(output: Output) -> float:
    there = torch.sigmoid(output.object_score.float()).item()
    inside = output.logits[output.logits > 0]
    return there * torch.sigmoid(inside.float()).mean().item() if len(inside) else 0.0
