"""Filling small holes, by the definition of the official CUDA kernel, on a CPU."""

from __future__ import annotations

import cv2
import numpy as np
import torch

FILL_LOGIT = 0.1
CONNECTIVITY = 8


def fill_holes(logits: torch.Tensor, max_area_px: int) -> torch.Tensor:
    """Logits with small holes raised to 0.1; a new tensor, the input is not written.

    A hole is an 8-connected component of `logits <= 0` of at most `max_area_px` pixels, as in
    `fill_holes_in_mask_scores` of SAM 2 with its compiled extension. It may touch the border.

    Args:
        logits: `(N, 1, H, W)` float.
        max_area_px: 0 fills nothing.

    Raises:
        ValueError: another shape, or a negative area.
    """
    if logits.ndim != 4 or logits.shape[1] != 1 or max_area_px < 0:
        raise ValueError(
            f"expected logits (N, 1, H, W) and an area of at least 0, "
            f"got {tuple(logits.shape)} and {max_area_px}"
        )
    if max_area_px == 0:
        return logits
    background = (logits[:, 0] <= 0).cpu().numpy()
    holes = np.stack([_small_parts(each, max_area_px) for each in background])
    return torch.where(torch.from_numpy(holes[:, None]).to(logits.device), FILL_LOGIT, logits)


def _small_parts(
    background: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], max_area_px: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        background.astype(np.uint8), connectivity=CONNECTIVITY
    )
    small = stats[:, cv2.CC_STAT_AREA] <= max_area_px
    small[0] = False  # label 0 is the foreground
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = small[labels]
    return found
