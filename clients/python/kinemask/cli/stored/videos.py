"""`kinemask videos`: put videos into the library, look at them, take them out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import OK, command, say, usage_error
from kinemask.cli.options import AsJson, Debug, Overwrite, check_target
from kinemask.cli.stored.options import Force, Progress, Salvage, Server, VideoId

if TYPE_CHECKING:
    from kinemask.stored import StoredVideo

videos = typer.Typer(help="The library of stored videos.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)]
Name = Annotated[str, typer.Option(help="What to call it. Default: the file's name.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", show_default=False)]


@videos.command()
@command
def upload(
    files: Files,
    name: Name = "",
    salvage: Salvage = False,
    progress: Progress = None,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Store videos. Interrupted, the same command goes on where it broke off, within a day."""
    from kinemask.cli.output import print_json
    from kinemask.cli.stored.bars import bytes_bar
    from kinemask.cli.stored.server import library

    for path in files:
        if not path.is_file():
            raise usage_error(f"{path}: {'expected a' if path.exists() else 'no such'} file")
    with library(server, debug=debug) as client:
        for path in files:
            with bytes_bar(path.name, progress) as advance:
                video = client.videos.upload(path, name=name, salvage=salvage, on_bytes=advance)
            if as_json:
                print_json(_json(video))
            else:
                print(f"{video.video_id}  {video.name}", flush=True)
    return OK


@videos.command(name="list")
@command
def list_videos(
    name: Annotated[str, typer.Option(help="Only those whose name has this in it.")] = "",
    renders: Annotated[bool, typer.Option("--renders", help="Renders too.")] = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """The videos, newest first."""
    from kinemask.cli.output import print_json, print_tables, table
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        found = list(client.videos.list(name_contains=name, include_renders=renders))
    if as_json:
        print_json({"videos": [_json(video) for video in found]})
        return OK
    columns = ("Video", "Name", "Size", "Frames#", "Seconds#", "MB#", "Stored")
    print_tables(table(columns, map(_row, found)))
    return OK


@videos.command()
@command
def show(
    video: VideoId,
    probe: Annotated[bool, typer.Option("--probe", help="Decode all of it first.")] = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Everything that is known of a video."""
    from kinemask.cli.output import print_json, print_tables, table
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        if probe:
            client.videos.probe(video)
        found = _json(client.videos.get(video))
    if as_json:
        print_json(found)
    else:
        facts = found.pop("facts")
        assert isinstance(facts, dict)
        print_tables(table(("", ""), [*found.items(), *facts.items()]))
    return OK


@videos.command()
@command
def download(
    video: VideoId,
    output: Output,
    overwrite: Overwrite = False,
    progress: Progress = None,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Fetch a video's file. Interrupted, the same command goes on where it broke off."""
    from kinemask.cli.stored.bars import bytes_bar
    from kinemask.cli.stored.server import library

    check_target(output, (output.suffix.lower(),), overwrite, [])
    with library(server, debug=debug) as client, bytes_bar(output.name, progress) as advance:
        client.videos.download(video, output, on_bytes=advance)
    say(f"wrote {output}")
    return OK


@videos.command()
@command
def delete(
    video: Annotated[list[str], typer.Argument(metavar="VIDEO...", show_default=False)],
    force: Force = False,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Remove videos for good."""
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        for video_id in video:
            client.videos.delete(video_id, force=force)
            say(f"deleted {video_id}")
    return OK


@videos.command()
@command
def frame(
    video: VideoId,
    output: Output,
    index: Annotated[int | None, typer.Option(min=0, help="Which, from 0.")] = None,
    time_s: Annotated[float | None, typer.Option("--time", min=0, help="At this second.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same random one again.")] = None,
    overwrite: Overwrite = False,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """One frame as a picture: by --index or --time, or any."""
    from kinemask.cli.pictures import PICTURE_ENDINGS, write_picture
    from kinemask.cli.stored.server import library

    if sum(given is not None for given in (index, time_s, seed)) > 1:
        raise usage_error("expected one of --index, --time and --seed, got several")
    check_target(output, PICTURE_ENDINGS, overwrite, [])
    with library(server, debug=debug) as client:
        found = client.videos.frame(video, index=index, time_s=time_s, seed=seed)
    write_picture(output, found.image)
    say(f"wrote frame {found.index}, shown at {found.time_s:.3f} s, to {output}")
    return OK


def _row(video: StoredVideo) -> tuple[object, ...]:
    facts = video.facts
    return (
        video.video_id,
        video.name,
        f"{facts.width}x{facts.height}",
        facts.frame_count,
        f"{facts.duration_s:.1f}",
        f"{video.size_bytes / 1e6:.1f}",
        video.create_time.astimezone().strftime("%Y-%m-%d %H:%M"),
    )


def _json(video: StoredVideo) -> dict[str, object]:
    return {**dataclasses.asdict(video), "create_time": video.create_time.isoformat()}
