"""Pictures from files and into files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinemask.cli.failures import CommandError, usage_error
from kinemask.cli.options import check_target
from kinemask.cli.output import replacing

if TYPE_CHECKING:
    from kinemask.types import RgbImage

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")


def read_picture(path: Path) -> RgbImage:
    """`(H, W, 3)` uint8 RGB, upright.

    Raises:
        CommandError: no such file, or not a picture.
    """
    from kinemask.images import ImageError, decode

    if not path.is_file():
        raise usage_error(f"{path}: {'expected a' if path.exists() else 'no such'} file")
    try:
        return decode(path.read_bytes())
    except ImageError as error:
        raise CommandError(f"{path}: {error}") from error


def write_picture(path: Path, image: RgbImage) -> None:
    """JPEG or PNG, by the name's ending; all or nothing."""
    from kinemask.images import encode_jpeg, encode_png

    encode = encode_png if path.suffix.lower() == ".png" else encode_jpeg
    with replacing(path) as file:
        file.write(encode(image))


def picture_targets(images: list[Path], output: Path | None, overwrite: bool) -> list[Path | None]:
    """Where each drawn picture goes: one file, or a folder for several; None without `output`.

    Raises:
        CommandError: it cannot be written there.
    """
    if output is None:
        return [None] * len(images)
    if len(images) == 1 and not output.is_dir():
        check_target(output, PICTURE_ENDINGS, overwrite, images)
        return [output]
    if not output.is_dir():
        raise usage_error(f"{output}: expected a folder, for {len(images)} pictures")
    targets: list[Path | None] = [output / f"{path.stem}.jpg" for path in images]
    if len(set(targets)) < len(targets):
        raise usage_error(f"{output}: pictures of the same name would replace one another there")
    for target in targets:
        check_target(target or output, PICTURE_ENDINGS, overwrite, images)
    return targets
