"""What the commands about faces print and draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kinemask.cli.failures import say

if TYPE_CHECKING:
    from kinemask.faces import Gallery, Person, RecognisedFace, Recognition, Verification
    from kinemask.types import RgbImage


def tell_galleries(galleries: Sequence[Gallery], as_json: bool) -> None:
    """One line each."""
    from kinemask.cli.output import print_json, print_tables, table

    if as_json:
        print_json(
            {
                "galleries": [
                    {
                        "gallery_id": one.gallery_id,
                        "name": one.name,
                        "model": one.default_model,
                        "people": one.person_count,
                        "samples": one.sample_count,
                    }
                    for one in galleries
                ]
            }
        )
        return
    columns = ("Gallery", "Name", "Model", "People#", "Samples#")
    rows = [
        (one.gallery_id, one.name, one.default_model, one.person_count, one.sample_count)
        for one in galleries
    ]
    print_tables(table(columns, rows))


def tell_people(gallery_id: str, people: Sequence[Person], as_json: bool) -> None:
    """One line each."""
    from kinemask.cli.output import print_json, print_tables, table

    if as_json:
        shown = [
            {
                "person_id": one.person_id,
                "name": one.name,
                "stranger": one.stranger,
                "samples": one.sample_count,
                "metadata": dict(one.metadata),
            }
            for one in people
        ]
        print_json({"gallery": gallery_id, "people": shown})
        return
    if not people:
        say(f"nobody in gallery {gallery_id}")
        return
    rows = [
        (
            one.name,
            one.person_id,
            one.sample_count,
            "yes" if one.stranger else "",
            one.update_time.astimezone().strftime("%Y-%m-%d %H:%M"),
        )
        for one in people
    ]
    print_tables(table(("Name", "Person", "Samples#", "Stranger", "Changed"), rows))


def tell_verified(answer: Verification, as_json: bool) -> None:
    """Same or not, and by how much."""
    from kinemask.cli.output import print_json

    if as_json:
        print_json(
            {
                "same": answer.same,
                "similarity": round(answer.similarity, 4),
                "threshold": round(answer.threshold, 4),
                "model": answer.service.model,
            }
        )
        return
    word = "the same person" if answer.same else "two people"
    sign = "reaches" if answer.same else "is below"
    print(f"{word}: {answer.similarity:.3f} {sign} {answer.threshold:.3f}", flush=True)


def tell_recognised(
    images: Sequence[Path],
    found: Sequence[Recognition],
    targets: Sequence[Path | None],
    as_json: bool,
) -> None:
    """One line a face."""
    from kinemask.cli.output import print_json, print_tables, table

    if as_json:
        shown = [_json(*one) for one in zip(images, found, targets, strict=True)]
        print_json({"images": shown})
        return
    rows = []
    for path, one in zip(images, found, strict=True):
        if not one.faces:
            say(f"{path}: no face found")
        rows += [_row(path, face) for face in one.faces]
    if rows:
        columns = ("Image", "Name", "Decision", "Similarity#", "X1#", "Y1#", "X2#", "Y2#")
        print_tables(table(columns, rows))


def draw(picture: RgbImage, target: Path, found: Recognition) -> None:
    """The names, on the faces."""
    from kinemask.cli.pictures import write_picture
    from kinemask.effects import EffectObject, make_effect, palette_color

    objects = [
        EffectObject(box_xyxy=face.face.box, color=palette_color(number), label=label_of(face))
        for number, face in enumerate(found.faces, 1)
    ]
    write_picture(target, make_effect("overlay", intensity=0.15).apply(picture, objects))


def label_of(face: RecognisedFace) -> str:
    """What to write on a face."""
    if face.best is not None and face.decision in ("known", "stranger"):
        return f"{face.best.name} {face.best.similarity:.2f}"
    return face.decision


def _row(path: Path, face: RecognisedFace) -> tuple[object, ...]:
    known = face.best is not None and face.decision in ("known", "stranger")
    name = face.best.name if face.best is not None and known else ""
    similarity = "" if face.best is None else f"{face.best.similarity:.3f}"
    return (path, name, face.decision, similarity, *(f"{edge:.0f}" for edge in face.face.box))


def _json(path: Path, found: Recognition, target: Path | None) -> dict[str, object]:
    return {
        "image": str(path),
        "width": found.width,
        "height": found.height,
        "threshold": round(found.threshold, 4),
        "output": None if target is None else str(target),
        "faces": [_face_json(face) for face in found.faces],
    }


def _face_json(face: RecognisedFace) -> dict[str, object]:
    best = face.best
    return {
        "decision": face.decision,
        "person_id": "" if best is None else best.person_id,
        "name": "" if best is None else best.name,
        "similarity": None if best is None else round(best.similarity, 4),
        "margin": None if face.margin is None else round(face.margin, 4),
        "new_stranger": face.new_stranger,
        "quality": round(face.face.quality.score, 4),
        "box_xyxy": [round(edge, 2) for edge in face.face.box],
    }
