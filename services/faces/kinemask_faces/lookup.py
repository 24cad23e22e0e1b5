"""How faces are looked up, and what a search says of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kinemask.v1 import faces_pb2
from kinemask_chassis import errors

from kinemask_faces.engines.base import FaceModelInfo
from kinemask_faces.gallery.records import Match, ModelKey
from kinemask_faces.gallery_messages import match_to_message
from kinemask_faces.messages import FaceQuery, query_from_message
from kinemask_faces.model_keys import key_of
from kinemask_faces.quality import FaceProblem
from kinemask_faces.seen import SeenFace

MIN_STRANGER_QUALITY = 0.4
"""A poorer face is not worth to be somebody new."""
_MIN_FRAMES = 3
_MAX_SAMPLES = 5

Decision: TypeAlias = faces_pb2.FaceDecision.ValueType


@dataclass(frozen=True)
class StrangerTerms:
    """When an unknown face is enrolled by itself."""

    min_quality: float
    new_below: float
    """Below this similarity to everybody, it is somebody new: -1..1."""
    min_frames: int
    max_samples: int


@dataclass(frozen=True)
class LookupTerms:
    """Where and how faces are looked up, defaults filled in."""

    gallery_id: str
    model: FaceModelInfo
    query: FaceQuery
    threshold: float
    min_margin: float
    min_quality: float
    include_metadata: bool
    include_face_tokens: bool
    strangers: StrangerTerms | None

    @property
    def key(self) -> ModelKey:
        """What the gallery calls the model."""
        return key_of(self.model)

    @property
    def very_like(self) -> float:
        """From this similarity on, a face is like one that was rejected."""
        return self.model.match_threshold


@dataclass
class Finding:
    """What one look at a face says."""

    seen: SeenFace
    decision: Decision
    best: faces_pb2.FaceMatch | None = None
    runner_up: faces_pb2.FaceMatch | None = None
    new_stranger: bool = False

    def take_stranger(self, settled: SettledStranger) -> None:
        """It is this stranger."""
        self.decision = faces_pb2.FACE_DECISION_STRANGER
        self.best = settled.match
        self.new_stranger = settled.made


@dataclass(frozen=True)
class SettledStranger:
    """A stranger, seen before or new."""

    match: faces_pb2.FaceMatch
    made: bool


def terms_of(options: faces_pb2.RecogniseOptions, model: FaceModelInfo) -> LookupTerms:
    """Validated options, for the model that is to be searched with.

    Raises:
        ServiceError: INVALID_ARGUMENT: strangers above the threshold of a match.
    """
    given = options.HasField("threshold")
    threshold = options.threshold if given else model.match_threshold
    return LookupTerms(
        gallery_id=options.gallery_id,
        model=model,
        query=query_from_message(options.detect),
        threshold=threshold,
        min_margin=options.min_margin if options.HasField("min_margin") else 0.0,
        min_quality=options.min_quality,
        include_metadata=options.include_metadata,
        include_face_tokens=options.include_face_tokens,
        strangers=_strangers(options, model, threshold),
    )


def contradicts(terms: LookupTerms, finding: Finding, person_id: str) -> bool:
    """True if a look at a face says plainly that it is not that person.

    That is: it matches another one; or nobody at all, although the face can be seen well.
    """
    quality = finding.seen.quality
    poor = quality.problem not in (None, FaceProblem.TOO_SMALL)
    if finding.decision == faces_pb2.FACE_DECISION_UNKNOWN and poor:
        return False
    if finding.decision == faces_pb2.FACE_DECISION_UNKNOWN:
        alike = -1.0 if finding.best is None else finding.best.similarity
        return alike < min(terms.model.stranger_below, terms.threshold)
    known = (faces_pb2.FACE_DECISION_KNOWN, faces_pb2.FACE_DECISION_STRANGER)
    best = "" if finding.best is None else finding.best.person_id
    return finding.decision in known and best != person_id


def _strangers(
    options: faces_pb2.RecogniseOptions, model: FaceModelInfo, threshold: float
) -> StrangerTerms | None:
    if not options.HasField("enrol_strangers"):
        return None
    asked = options.enrol_strangers
    new_below = min(model.stranger_below, threshold)
    if asked.HasField("new_below_similarity"):
        new_below = asked.new_below_similarity
    if new_below > threshold:
        raise errors.invalid(
            "options.enrol_strangers.new_below_similarity",
            f"expected at most the threshold of a match, {threshold:g}, got {new_below:g}",
        )
    return StrangerTerms(
        min_quality=asked.min_quality if asked.HasField("min_quality") else MIN_STRANGER_QUALITY,
        new_below=new_below,
        min_frames=asked.min_frames or _MIN_FRAMES,
        max_samples=asked.max_samples or _MAX_SAMPLES,
    )


def judged(terms: LookupTerms, seen: SeenFace, matches: Sequence[Match]) -> Finding:
    """What a search says of a face, by threshold and margin; `matches` are most similar first."""
    shown = [match_to_message(match, terms.include_metadata) for match in matches[:2]]
    if not matches:
        return Finding(seen, faces_pb2.FACE_DECISION_UNKNOWN)
    best = matches[0]
    runner_up = shown[1] if len(shown) > 1 else None
    decision: Decision = faces_pb2.FACE_DECISION_UNKNOWN
    if best.similarity >= terms.threshold:
        lead = best.similarity - matches[1].similarity if len(matches) > 1 else 2.0
        decision = faces_pb2.FACE_DECISION_KNOWN
        if best.stranger:
            decision = faces_pb2.FACE_DECISION_STRANGER
        if lead < terms.min_margin:
            decision = faces_pb2.FACE_DECISION_UNDECIDED
    return Finding(seen, decision, shown[0], runner_up)
