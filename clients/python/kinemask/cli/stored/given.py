"""A video as somebody names it: the id of a stored one, or a file that is then stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinemask.cli.failures import say, usage_error
from kinemask.cli.stored.bars import bytes_bar

if TYPE_CHECKING:
    from kinemask.client import Client


def check_given(given: str) -> None:
    """Look at what was given before anything is started.

    Raises:
        CommandError: it can only be a path, and there is no such file.
    """
    path = Path(given)
    if path.is_dir() or (not path.exists() and (path.suffix or len(path.parts) > 1)):
        raise usage_error(f"{given}: {'expected a' if path.exists() else 'no such'} file")


def stored_video(client: Client, given: str, progress: bool | None, salvage: bool) -> str:
    """The id of a video; a file that is not in the library yet is uploaded."""
    path = Path(given)
    if not path.is_file():
        return given
    known = client.videos.find(path)
    if known is not None:
        say(f"{path.name} is in the library, as {known.video_id}")
        return known.video_id
    with bytes_bar(path.name, progress) as advance:
        video = client.videos.upload(path, salvage=salvage, on_bytes=advance)
    say(f"stored {path.name} as {video.video_id}")
    return video.video_id
