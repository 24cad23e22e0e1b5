"""Faces and people without a downloaded model: the embedded default."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_detector.engines.base import Detection, DetectRequest, EngineInfo, UnknownPromptError
from kinemask_detector.engines.boxes import Floats, clip, suppress
from kinemask_detector.engines.faces import WEIGHTS_SHA256, FaceFinder
from kinemask_detector.engines.people import PeopleFinder
from kinemask_detector.engines.words import FACE, PERSON, label_of

Pixels = NDArray[np.uint8]
Found = tuple[Floats, Floats]
"""`(N, 4)` xyxy boxes of the shrunk picture and `(N,)` scores."""

LABELS = (FACE, PERSON)
# Cost grows with pixels, whatever their shape; in 720p a person then has 240 px.
_FACE_AREA_PX = 1024 * 576
_PERSON_AREA_PX = 512 * 288
# A small picture is enlarged, or its faces are under the smallest that is known.
_LEAST_SIDE_PX = 480
_SCORE_THRESHOLD = 0.5
_MAX_IOU = 0.45


@dataclass(frozen=True)
class ClassicPrepared:
    """A picture at working size, and what is asked about it."""

    height: int
    width: int
    prompt_of: dict[str, str]
    """The labels to look for; each with the prompt it answers."""
    score_threshold: float
    top_k: int
    overlap_threshold: float | None
    pictures: dict[str, Pixels] = field(repr=False)
    """For each label, `(h, w, 3)` uint8 RGB at that finder's size."""


class ClassicEngine:
    """YuNet for faces, HOG for people; the score threshold is 0.5 by default.

    A face's box spans forehead to chin and both cheeks. The smallest face is about 10 px wide in a
    picture of 1024x576 or its like, the smallest person 96 px tall in one of 512x288; larger
    pictures are shrunk to that. Faces are found frontal and in profile, also where the edge cuts
    them; of people those who stand.
    """

    def __init__(self) -> None:
        self._info = EngineInfo(
            name="classic",
            model="yunet-hog",
            revision=f"builtin-{WEIGHTS_SHA256[:8]}",
            device="cpu",
            license="MIT and Apache-2.0",
            classes=LABELS,
            score_threshold=_SCORE_THRESHOLD,
            overlap_threshold=_MAX_IOU,
            max_batch=1,
        )
        self._faces: FaceFinder | None = None
        self._people: PeopleFinder | None = None

    @property
    def info(self) -> EngineInfo:
        return self._info

    def warm_up(self) -> None:
        """Load the weights and run everything once."""
        image = np.zeros((128, 128, 3), np.uint8)
        self.infer([self.preprocess(DetectRequest(image))])

    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        unknown = [prompt for prompt in prompts if label_of(prompt) is None]
        if unknown:
            raise UnknownPromptError(unknown, LABELS)
        unknown = [name for name in classes if name not in LABELS]
        if unknown:
            raise UnknownPromptError(unknown, LABELS, field="classes")

    def is_best_for(self, prompts: Sequence[str]) -> bool:
        """For faces alone: a model made for them sees more of them, a thousand times as fast."""
        return bool(prompts) and all(label_of(prompt) == FACE for prompt in prompts)

    def preprocess(self, request: DetectRequest) -> ClassicPrepared:
        height, width = request.image.shape[:2]
        prompt_of = _labels_wanted(request)
        pictures: dict[str, Pixels] = {}
        if FACE in prompt_of:
            pictures[FACE] = _at_size(request.image, _FACE_AREA_PX)
        if PERSON in prompt_of:
            pictures[PERSON] = _at_size(request.image, _PERSON_AREA_PX)
        threshold = request.score_threshold
        return ClassicPrepared(
            height=height,
            width=width,
            prompt_of=prompt_of,
            score_threshold=_SCORE_THRESHOLD if threshold is None else threshold,
            top_k=request.top_k,
            overlap_threshold=request.overlap_threshold,
            pictures=pictures,
        )

    def bucket(self, prepared: ClassicPrepared) -> Hashable:
        return None

    def infer(self, batch: Sequence[ClassicPrepared]) -> list[dict[str, Found] | Exception]:
        if self._faces is None or self._people is None:
            self._faces, self._people = FaceFinder(), PeopleFinder()
        find = {FACE: self._faces.find, PERSON: self._people.find}
        return [
            {label: find[label](picture) for label, picture in prepared.pictures.items()}
            for prepared in batch
        ]

    def postprocess(self, prepared: ClassicPrepared, raw: dict[str, Found]) -> list[Detection]:
        found = [
            detection
            for label, (boxes, scores) in raw.items()
            for detection in _detections(prepared, label, boxes, scores)
        ]
        found.sort(key=lambda detection: -detection.score)
        return found[: prepared.top_k]

    def close(self) -> None:
        self._faces = self._people = None


def _labels_wanted(request: DetectRequest) -> dict[str, str]:
    """Each label to look for with the first prompt that means it; all labels without prompts."""
    wanted: dict[str, str] = {}
    for prompt in request.prompts:
        label = label_of(prompt)
        if label is not None:
            wanted.setdefault(label, prompt)
    if not request.prompts:
        wanted = dict.fromkeys(LABELS, "")
    kept = request.classes or LABELS
    return {label: prompt for label, prompt in wanted.items() if label in kept}


def _detections(
    prepared: ClassicPrepared, label: str, boxes: Floats, scores: Floats
) -> list[Detection]:
    """Those of one label that are good enough, back at the picture's own size."""
    small_height, small_width = prepared.pictures[label].shape[:2]
    scale = np.tile([prepared.width / small_width, prepared.height / small_height], 2)
    boxes = clip(boxes * scale, prepared.height, prepared.width)
    good = (scores >= prepared.score_threshold) & np.all(boxes[:, 2:] - boxes[:, :2] >= 1, axis=1)
    boxes, scores = boxes[good], scores[good]
    asked = prepared.overlap_threshold
    kept = suppress(boxes, scores, _MAX_IOU if asked is None else asked)
    prompt = prepared.prompt_of[label]
    return [
        Detection((float(x0), float(y0), float(x1), float(y1)), float(score), label, prompt)
        for (x0, y0, x1, y1), score in zip(boxes[kept], scores[kept], strict=True)
    ]


def _at_size(image: Pixels, most_px: int) -> Pixels:
    """`(H, W, 3)` shrunk to `most_px` in area, enlarged twofold at most, or as it is in between."""
    longest = max(image.shape[:2])
    if longest < _LEAST_SIDE_PX:
        scale = min(2.0, _LEAST_SIDE_PX / longest)
    else:
        scale = min(1.0, math.sqrt(most_px / (image.shape[0] * image.shape[1])))
    if scale == 1.0:
        return image
    size = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
