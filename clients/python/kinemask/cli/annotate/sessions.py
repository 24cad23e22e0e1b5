"""Sessions: opened, listed, shown, closed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.annotate.options import SessionId
from kinemask.cli.failures import OK, command, say
from kinemask.cli.options import AsJson, Debug
from kinemask.cli.stored.options import Server, VideoId

if TYPE_CHECKING:
    from kinemask.annotate import Session, SessionPrompt


@command
def open_session(
    video: VideoId,
    name: Annotated[str, typer.Option(help="What to call it. Default: the video's name.")] = "",
    segmenter: Annotated[str, typer.Option(help="Which segmenter. Default: auto.")] = "",
    tracks: Annotated[
        str,
        typer.Option(metavar="JOB", help="Begin with what this track job has found."),
    ] = "",
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Begin to work on a stored video; prints the session's id."""
    from kinemask.annotate import SessionOptions
    from kinemask.cli.output import print_json
    from kinemask.cli.stored.server import library

    with library(server, debug=debug, needs=("segmenter",)) as client:
        options = SessionOptions(model=segmenter)
        session = client.annotate.open(video, name=name, options=options, track_job_id=tracks)
    if as_json:
        print_json(_json(session))
    else:
        print(f"{session.session_id}  {session.name}")
        say(f"next: kinemask annotate click {session.session_id} FRAME X,Y")
    return OK


@command
def list_sessions(
    video: Annotated[str, typer.Option(help="Only those on this video.")] = "",
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """The sessions, newest first."""
    from kinemask.cli.output import print_json, print_tables, table
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        found = list(client.annotate.list(video_id=video))
    if as_json:
        print_json({"sessions": [_json(session) for session in found]})
        return OK
    rows = [
        (s.session_id, s.name, s.video_id, s.state, s.options.model, s.use_time.astimezone())
        for s in found
    ]
    columns = ("Session", "Name", "Video", "State", "Segmenter", "Used")
    print_tables(table(columns, [(*row[:5], f"{row[5]:%Y-%m-%d %H:%M}") for row in rows]))
    return OK


@command
def show(
    session: SessionId, server: Server = None, as_json: AsJson = False, debug: Debug = False
) -> int:
    """A session's objects and prompts, and the frames that wait to be propagated to."""
    from kinemask.cli.output import print_json, print_tables, table
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        found = client.annotate.get(session)
        prompts = list(client.annotate.prompts(session))
    if as_json:
        print_json({**_json(found), "prompts": [_prompt_json(entry) for entry in prompts]})
        return OK
    objects = [
        (o.object_id, o.label, _frames(o.prompted_frames), o.masked_frame_count)
        for o in found.objects
    ]
    said = [(p.prompt_id, p.frame_index, p.prompt.object_id, _said(p)) for p in prompts]
    print_tables(
        table(("Object#", "Label", "Prompted on", "Masks#"), objects),
        table(("Prompt#", "Frame#", "Object#", "What"), said),
    )
    stale = ", ".join(f"{first}-{last}" for first, last in found.stale_frames)
    print(f"frames to propagate to: {stale or 'none'}")
    return OK


@command
def close(
    session: Annotated[list[str], typer.Argument(metavar="SESSION...", show_default=False)],
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Remove sessions for good, with their prompts and masks."""
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        for session_id in session:
            client.annotate.close(session_id)
            say(f"closed {session_id}")
    return OK


def _frames(frames: tuple[int, ...]) -> str:
    """The first few."""
    more = f" and {len(frames) - 8} more" if len(frames) > 8 else ""
    return ", ".join(map(str, frames[:8])) + more


def _said(entry: SessionPrompt) -> str:
    """A prompt in words."""
    prompt = entry.prompt
    parts = [f"on {x:g},{y:g}" for x, y in prompt.points]
    parts += [f"not {x:g},{y:g}" for x, y in prompt.negative_points]
    if prompt.box is not None:
        parts.append("box " + ",".join(f"{edge:g}" for edge in prompt.box))
    if prompt.mask is not None:
        parts.append(f"mask of {int(prompt.mask.sum())} pixels")
    return "; ".join(parts)


def _prompt_json(entry: SessionPrompt) -> dict[str, object]:
    prompt = entry.prompt
    return {
        "prompt_id": entry.prompt_id,
        "frame": entry.frame_index,
        "object_id": prompt.object_id,
        "points": list(prompt.points),
        "negative_points": list(prompt.negative_points),
        "box": prompt.box,
        "mask_px": None if prompt.mask is None else int(prompt.mask.sum()),
    }


def _json(session: Session) -> dict[str, object]:
    return {
        **dataclasses.asdict(session),
        "create_time": session.create_time.isoformat(),
        "use_time": session.use_time.isoformat(),
    }
