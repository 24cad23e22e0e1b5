"""Pictures of one person into a gallery."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kinemask.cli.faces.people import ensure_gallery, named, only
from kinemask.cli.failures import say, usage_error

if TYPE_CHECKING:
    from kinemask.client import Client
    from kinemask.faces import EnrolAnswer, Enrolled, Person

_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


class Enrolment:
    """One run of `kinemask faces enrol`.

    Invariant: somebody who was made for it and of whom no picture would do is removed again.
    """

    def __init__(self, client: Client, gallery_id: str, name: str, person_id: str) -> None:
        self._client = client
        self._gallery_id, self._name, self._person_id = gallery_id, name.strip(), person_id
        self._made = False
        self._person: Person | None = None
        self._outcomes: list[tuple[Path, Enrolled]] = []

    def run(self, images: list[Path], only_face: bool, min_quality: float | None) -> bool:
        """Send them; whether a face of the person is known now.

        Raises:
            CommandError: several people have the name.
            KinemaskError: the service refuses.
        """
        if ensure_gallery(self._client, self._gallery_id):
            say(f"made gallery {self._gallery_id}")
        person = self._person = self._the_person()
        outcomes = self._send(images, person.person_id, only_face, min_quality)
        self._outcomes = list(zip(images, outcomes, strict=True))
        known = any(one or one.problem == "duplicate" for one in outcomes)
        if self._made and not known:
            self._client.faces.delete_person(self._gallery_id, person.person_id)
        return known

    def _send(
        self, images: list[Path], person_id: str, only_face: bool, min_quality: float | None
    ) -> list[Enrolled]:
        """Thousands, one file after another: few of them are held at a time."""
        from kinemask.faces import FaceInPicture

        answers: list[EnrolAnswer] = []
        with self._client.faces.enrol_stream(self._gallery_id) as stream:
            for path in images:
                face = FaceInPicture(path.read_bytes(), only=only_face)
                stream.send(person_id, face, source=path.name, min_quality=min_quality)
                answers.extend(stream.ready())
            stream.finish()
            answers.extend(stream)
        return [_outcome(answer) for answer in answers]

    def tell(self, as_json: bool) -> None:
        """What became of each picture."""
        from kinemask.cli.output import print_json, print_tables, table

        person_id = self._person.person_id if self._person is not None else ""
        if as_json:
            images = [_json(path, outcome) for path, outcome in self._outcomes]
            print_json(
                {"gallery": self._gallery_id, "name": self._name, "person_id": person_id}
                | {"images": images}
            )
            return
        rows = [(path, _word(outcome), _why(outcome)) for path, outcome in self._outcomes]
        print_tables(table(("Image", "", "Why"), rows), f"{self._name}  {person_id}")

    def _the_person(self) -> Person:
        if self._person_id:
            return self._client.faces.person(self._gallery_id, self._person_id)
        found = named(self._client, self._gallery_id, self._name)
        if found:
            return only(found, self._name)
        self._made = True
        return self._client.faces.create_person(self._gallery_id, self._name)


def pictures_of(paths: Iterable[Path]) -> list[Path]:
    """Files as they are; in place of a folder the pictures in it, by name.

    Raises:
        CommandError: a folder has no picture in it.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(one for one in path.iterdir() if _is_picture(one)) if path.is_dir() else []
        if path.is_dir() and not inside:
            endings = " ".join(sorted(_ENDINGS))
            raise usage_error(f"{path}: expected a folder with pictures ({endings}), found none")
        found += inside or [path]
    return found


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in _ENDINGS


def _outcome(answer: EnrolAnswer) -> Enrolled:
    from kinemask.faces import Enrolled

    if answer.enrolled is not None:  # a refusal is false
        return answer.enrolled
    return Enrolled(None, error=answer.error)


def _word(outcome: Enrolled) -> str:
    if outcome:
        return "enrolled"
    return "failed" if outcome.error is not None else "refused"


def _why(outcome: Enrolled) -> str:
    if outcome.sample is not None:
        return f"quality {outcome.sample.face.quality.score:.2f}"
    if outcome.error is not None:
        return outcome.error.message
    return f"{outcome.problem}: {outcome.message}"


def _json(path: Path, outcome: Enrolled) -> dict[str, object]:
    return {
        "image": str(path),
        "outcome": _word(outcome),
        "sample_id": outcome.sample.sample_id if outcome.sample is not None else "",
        "problem": outcome.problem,
        "message": _why(outcome),
    }
