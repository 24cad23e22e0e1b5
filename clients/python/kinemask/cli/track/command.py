"""The line of `kinemask track`: its options, and what they come to."""

from __future__ import annotations

from pathlib import Path

from kinemask.cli.faces.options import DEFAULT_GALLERY
from kinemask.cli.failures import NOTHING_FOUND, OK, command, say
from kinemask.cli.options import (
    AllowEmpty,
    AsJson,
    Debug,
    DetectorModel,
    Overwrite,
    SegmenterModel,
    Server,
    Texts,
    Threshold,
    color_of,
    pointed,
)
from kinemask.cli.track.options import (
    Boxes,
    CaptionerModel,
    CaptionEvery,
    Color,
    Effects,
    End,
    Every,
    ExceptNames,
    FacesModel,
    Gallery,
    Grow,
    Intensity,
    Masks,
    NoAudio,
    OnlyNames,
    Output,
    Points,
    Region,
    RegionChoice,
    ShowProgress,
    Start,
    TrackerName,
    Video,
)
from kinemask.cli.track.request import (
    DEFAULT_EFFECT,
    Models,
    TrackRequest,
    effect_specs,
    growth_of,
)


@command
def track(
    video: Video,
    text: Texts = None,
    box: Boxes = None,
    point: Points = None,
    every: Every = 0,
    caption_every: CaptionEvery = 0,
    threshold: Threshold = None,
    allow_empty: AllowEmpty = False,
    model_detector: DetectorModel = "auto",
    model_segmenter: SegmenterModel = "auto",
    model_tracker: TrackerName = "auto",
    model_captioner: CaptionerModel = "auto",
    effect: Effects = None,
    intensity: Intensity = None,
    color: Color = None,
    grow: Grow = None,
    region: Region = RegionChoice.mask,
    except_names: ExceptNames = None,
    only_names: OnlyNames = None,
    gallery: Gallery = DEFAULT_GALLERY,
    model_faces: FacesModel = "auto",
    output: Output = None,
    masks: Masks = None,
    start: Start = 0,
    end: End = None,
    no_audio: NoAudio = False,
    overwrite: Overwrite = False,
    server: Server = None,
    progress: ShowProgress = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Follow objects through a video and hide or mark them.

    [bold]kinemask track clip.mp4 --text face --effect blur -o out.mp4[/bold]

    [bold]kinemask track clip.mp4 --box 40,30,200,260 --point 320,90@25 --effect outline[/bold]

    [bold]kinemask track clip.mp4 --text face --effect blur --except "Alice"[/bold]

    Effects are drawn on the original frames; timing and sound are kept.

    Exit code 0: done. 1: failed. 2: cannot be done as asked. 3: done, but --text found nothing
    in the whole video. 130: interrupted. Files are written only with 0 and 3, and then whole.
    """
    names = [choice.value for choice in effect or ()]
    writes_video = output is not None or masks is None or bool(names)
    drawn = (names or [DEFAULT_EFFECT]) if writes_video else []
    request = TrackRequest(
        video=video,
        texts=tuple(text or ()),
        objects=pointed(box, point),
        effects=effect_specs(drawn, intensity, color_of(color), growth_of(grow), region.value),
        output=(output or _default_output(video, drawn)) if writes_video else None,
        masks=masks,
        start=start,
        end=end,
        every=every,
        threshold=threshold,
        models=Models(model_detector, model_segmenter, model_tracker, model_captioner, model_faces),
        except_names=tuple(except_names or ()),
        only_names=tuple(only_names or ()),
        gallery=gallery,
        caption_every=caption_every,
        audio=not no_audio,
    )
    request.check(overwrite)
    return _run(request, server, progress, allow_empty, as_json, debug)


def _run(
    request: TrackRequest,
    server: str | None,
    progress: bool | None,
    allow_empty: bool,
    as_json: bool,
    debug: bool,
) -> int:
    from kinemask.cli.output import print_json
    from kinemask.cli.server import gateway
    from kinemask.cli.track.run import TrackRun
    from kinemask.video import VideoReader

    reader = VideoReader(request.video, prefetch_frames=0)  # the feed's thread decodes
    request.check_against(reader.info)
    with gateway(server, request.services, debug=debug) as client:
        report = TrackRun(request, reader).run(client, progress, allow_empty)
    for warning in report.warnings():
        say(f"warning: {warning}")
    if as_json:
        print_json(report.to_json())
    else:
        report.print()
    return NOTHING_FOUND if report.found_nothing and not allow_empty else OK


def _default_output(video: Path, effects: list[str]) -> Path:
    return Path(f"{video.stem}-{'-'.join(effects)}.mp4")
