"""What a client wishes of a stream, and what it gets."""

from __future__ import annotations

from kinemask.v1 import segmenter_pb2
from kinemask_chassis import errors

from kinemask_segmenter.engines.base import SegmenterEngine, StreamOptions

Config = segmenter_pb2.SegmentVideoConfig


def options_from_message(config: Config, engine: SegmenterEngine) -> StreamOptions:
    """What holds in a stream that asks for this.

    Raises:
        ServiceError: INVALID_ARGUMENT: the engine cannot.
    """
    wished = StreamOptions(
        official_memory=config.memory_policy == segmenter_pb2.MEMORY_POLICY_OFFICIAL,
        fast={
            segmenter_pb2.COMPUTE_TIER_EXACT: False,
            segmenter_pb2.COMPUTE_TIER_FAST: True,
        }.get(config.tier),
        input_size_px=config.input_size_px or None,
        retained_frames=config.retained_frames or None,
        max_conditioning=config.max_conditioning_frames or None,
        fill_hole_area_px=config.fill_hole_area_px
        if config.HasField("fill_hole_area_px")
        else None,
        offload_retained=config.offload_retained_frames,
    )
    try:
        return engine.options(wished)
    except ValueError as error:
        field, _, what = str(error).partition(": ")
        raise errors.invalid(f"config.{field}", what) from error


def options_to_message(options: StreamOptions, config: Config) -> None:
    """Write what holds into the config that is echoed; what the engine does not know stays."""
    if options.max_conditioning is not None:
        policies = segmenter_pb2.MEMORY_POLICY_OFFICIAL, segmenter_pb2.MEMORY_POLICY_EXACT
        config.memory_policy = policies[0] if options.official_memory else policies[1]
        config.max_conditioning_frames = options.max_conditioning
    if options.fast is not None:
        tiers = segmenter_pb2.COMPUTE_TIER_FAST, segmenter_pb2.COMPUTE_TIER_EXACT
        config.tier = tiers[0] if options.fast else tiers[1]
    if options.input_size_px is not None:
        config.input_size_px = options.input_size_px
    if options.retained_frames is not None:
        config.retained_frames = options.retained_frames
    if options.offload_retained:
        config.offload_retained_frames = True
    if options.fill_hole_area_px is not None:
        config.fill_hole_area_px = options.fill_hole_area_px
