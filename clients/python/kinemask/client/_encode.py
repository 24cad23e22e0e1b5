"""From the SDK's plain values to the API's messages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinemask import config, types, wire
from kinemask.v1 import (
    captioner_pb2,
    detector_pb2,
    faces_pb2,
    live_pb2,
    media_pb2,
    segmenter_pb2,
    streams_pb2,
    tracker_pb2,
)

if TYPE_CHECKING:
    from kinemask.types import ImageLike

POLICIES: dict[config.PolicyName, streams_pb2.OverflowPolicy.ValueType] = {
    "block": streams_pb2.OVERFLOW_POLICY_BLOCK,
    "latest": streams_pb2.OVERFLOW_POLICY_LATEST,
    "reject": streams_pb2.OVERFLOW_POLICY_REJECT,
}
_ENCODINGS = {
    "rle": media_pb2.MASK_ENCODING_RLE,
    "png": media_pb2.MASK_ENCODING_PNG,
    "bits": media_pb2.MASK_ENCODING_BITS,
    "none": media_pb2.MASK_ENCODING_NONE,
}
_MEMORY_POLICIES = {
    "": segmenter_pb2.MEMORY_POLICY_UNSPECIFIED,
    "exact": segmenter_pb2.MEMORY_POLICY_EXACT,
    "official": segmenter_pb2.MEMORY_POLICY_OFFICIAL,
}
_TIERS = {
    "": segmenter_pb2.COMPUTE_TIER_UNSPECIFIED,
    "exact": segmenter_pb2.COMPUTE_TIER_EXACT,
    "fast": segmenter_pb2.COMPUTE_TIER_FAST,
}
_REGIONS = {"mask": live_pb2.EFFECT_REGION_MASK, "box": live_pb2.EFFECT_REGION_BOX}


def image(picture: ImageLike, jpeg_quality: int | None) -> media_pb2.Image:
    """An array is encoded as a JPEG (or travels raw with None); bytes and files go as they are.

    Raises:
        ValueError: an array that is not `(H, W, 3)` uint8.
        OSError: a file that cannot be read.
    """
    if isinstance(picture, (str, os.PathLike)):
        return media_pb2.Image(encoded=Path(picture).read_bytes())
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(
                f"expected an (H, W, 3) uint8 RGB image, found {picture.shape} {picture.dtype}"
            )
        return wire.image_to_message(picture, jpeg_quality)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return media_pb2.Image(encoded=bytes(picture))
    raise TypeError(
        f"image: expected an RGB array, encoded bytes or a path, found {type(picture).__name__}"
    )


def mask_encoding(name: types.MaskEncodingName) -> media_pb2.MaskEncoding.ValueType:
    if name not in _ENCODINGS:
        raise ValueError(f"mask_encoding: expected one of {sorted(_ENCODINGS)}, found {name!r}")
    return _ENCODINGS[name]


def prompt(given: types.Prompt, object_id: int | None = None) -> segmenter_pb2.ObjectPrompt:
    """A prompt under its own object id, or under another."""
    clicks = [(point, False) for point in given.points]
    clicks += [(point, True) for point in given.negative_points]
    return segmenter_pb2.ObjectPrompt(
        object_id=given.object_id if object_id is None else object_id,
        points=[media_pb2.Point(x=x, y=y, negative=negative) for (x, y), negative in clicks],
        box=None if given.box is None else wire.box_to_message(given.box),
        mask=None if given.mask is None else wire.mask_to_message(given.mask),
    )


def numbered_prompts(given: Sequence[types.Prompt]) -> list[segmenter_pb2.ObjectPrompt]:
    """Prompts of one picture; those without an object id get the smallest unused ones."""
    taken = {one.object_id for one in given}
    unused = (number for number in range(1, len(given) + len(taken) + 1) if number not in taken)
    return [prompt(one, one.object_id or next(unused)) for one in given]


def detect_options(stage: config.DetectStage) -> detector_pb2.DetectOptions:
    if isinstance(stage.prompts, str):
        raise TypeError(f"prompts: expected a list of words, found the string {stage.prompts!r}")
    return detector_pb2.DetectOptions(
        prompts=stage.prompts,
        classes=stage.classes,
        score_threshold=stage.score_threshold,
        overlap_threshold=stage.overlap_threshold,
        top_k=stage.top_k,
        model=stage.model,
    )


def caption_options(wanted: config.CaptionOptions) -> captioner_pb2.CaptionOptions:
    return captioner_pb2.CaptionOptions(
        beams=wanted.beams,
        max_tokens=wanted.max_tokens,
        min_tokens=wanted.min_tokens,
        text=wanted.text,
        model=wanted.model,
    )


def stream_options(options: config.StreamOptions, token: bytes) -> streams_pb2.StreamOptions:
    return streams_pb2.StreamOptions(
        window=options.window,
        policy=POLICIES[options.policy],
        resume_token=token,
        snapshot_every_n_frames=options.snapshot_every_n_frames,
    )


def detect_stage(stage: config.DetectStage) -> live_pb2.DetectStage:
    timing = live_pb2.DETECTION_TIMING_SYNC if stage.wait else live_pb2.DETECTION_TIMING_ASYNC
    return live_pb2.DetectStage(
        options=detect_options(stage), every_n_frames=stage.every_n_frames, timing=timing
    )


def caption_stage(stage: config.CaptionStage) -> live_pb2.CaptionStage:
    return live_pb2.CaptionStage(every_n_frames=stage.every_n_frames, model=stage.model)


def effect_stage(stage: config.EffectStage) -> live_pb2.EffectStage:
    return live_pb2.EffectStage(
        effects=[effect_message(effect) for effect in stage.effects],
        except_names=stage.except_names,
        only_names=stage.only_names,
        jpeg_quality=stage.jpeg_quality,
    )


def effect_message(effect: config.Effect) -> live_pb2.Effect:
    color = effect.color_rgb
    return live_pb2.Effect(
        name=effect.name,
        intensity=effect.intensity,
        color_rgb=None if color is None else color[0] << 16 | color[1] << 8 | color[2],
        grow_px=effect.grow_px,
        grow_fraction=effect.grow_fraction,
        region=_REGIONS[effect.region],
    )


def live_config(wanted: config.LiveConfig) -> live_pb2.StreamConfig:
    """The config without its stream options."""
    faces, track = wanted.faces, wanted.track
    return live_pb2.StreamConfig(
        detect=None if wanted.detect is None else detect_stage(wanted.detect),
        track=None if track is None else _track_stage(track),
        segment=None if wanted.segment is None else _segment_stage(wanted.segment),
        faces=None if faces is None else _faces_stage(faces),
        caption=None if wanted.caption is None else caption_stage(wanted.caption),
        effect=None if wanted.effect is None else effect_stage(wanted.effect),
    )


def _faces_stage(stage: config.FacesStage) -> live_pb2.FacesStage:
    return live_pb2.FacesStage(
        gallery_id=stage.gallery_id,
        threshold=stage.threshold,
        budget_ms=stage.budget_ms,
        model=stage.model,
        min_margin=stage.min_margin,
        votes=None if stage.votes is None else face_votes(stage.votes),
    )


def face_votes(votes: config.FaceVotes) -> faces_pb2.VoteOptions:
    """How votes become a name."""
    return faces_pb2.VoteOptions(
        min_votes=votes.min_votes,
        min_share=votes.min_share,
        max_votes=votes.max_votes,
        recheck_every_n_frames=votes.recheck_every_n_frames,
    )


def _segment_stage(stage: config.SegmentStage) -> live_pb2.SegmentStage:
    return live_pb2.SegmentStage(
        model=stage.model,
        mask_encoding=mask_encoding(stage.mask_encoding),
        max_objects=stage.max_objects,
        memory_policy=_MEMORY_POLICIES[stage.memory_policy],
        tier=_TIERS[stage.tier],
        input_size_px=stage.input_size_px,
    )


def _track_stage(stage: config.TrackStage) -> live_pb2.TrackStage:
    return live_pb2.TrackStage(
        algorithm=stage.algorithm, parameters=_tracker_parameters(stage.parameters)
    )


def _tracker_parameters(numbers: config.TrackerParameters) -> tracker_pb2.TrackerParameters:
    return tracker_pb2.TrackerParameters(
        min_hits=numbers.min_hits,
        max_lost_frames=numbers.max_lost_frames,
        high_score=numbers.high_score,
        low_score=numbers.low_score,
        new_track_score=numbers.new_track_score,
        match_iou=numbers.match_iou,
    )


def track_config(stage: config.TrackStage) -> tracker_pb2.TrackConfig:
    """The config without its stream options."""
    return tracker_pb2.TrackConfig(
        algorithm=stage.algorithm, parameters=_tracker_parameters(stage.parameters)
    )


def video_config(wanted: config.VideoConfig) -> segmenter_pb2.SegmentVideoConfig:
    """The config without its stream options."""
    return segmenter_pb2.SegmentVideoConfig(
        mask_encoding=mask_encoding(wanted.mask_encoding),
        model=wanted.model,
        memory_policy=_MEMORY_POLICIES[wanted.memory_policy],
        tier=_TIERS[wanted.tier],
        input_size_px=wanted.input_size_px,
        retained_frames=wanted.retained_frames,
        offload_retained_frames=wanted.offload_retained_frames,
        max_conditioning_frames=wanted.max_conditioning_frames,
        max_objects=wanted.max_objects,
    )


def detection(found: types.Detection) -> detector_pb2.Detection:
    return detector_pb2.Detection(
        box=wire.box_to_message(found.box),
        score=found.score,
        label=found.label,
        prompt=found.prompt,
    )


def observation(known: types.Observation) -> tracker_pb2.Observation:
    return tracker_pb2.Observation(
        track_id=known.track_id, box=wire.box_to_message(known.box), score=known.score
    )
