"""Pictures of one person into a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinemask.cli.faces.people import ensure_gallery, named, only
from kinemask.cli.failures import say

if TYPE_CHECKING:
    from kinemask.client import Client
    from kinemask.faces import Enrolled, FaceInPicture, Person


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
        from kinemask.faces import FaceInPicture

        if ensure_gallery(self._client, self._gallery_id):
            say(f"made gallery {self._gallery_id}")
        person = self._person = self._the_person()
        faces: list[FaceInPicture] = [
            FaceInPicture(path.read_bytes(), only=only_face) for path in images
        ]
        outcomes = self._client.faces.enrol(
            self._gallery_id,
            person.person_id,
            faces,
            sources=[path.name for path in images],
            min_quality=min_quality,
        )
        self._outcomes = list(zip(images, outcomes, strict=True))
        known = any(one or one.problem == "duplicate" for one in outcomes)
        if self._made and not known:
            self._client.faces.delete_person(self._gallery_id, person.person_id)
        return known

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
