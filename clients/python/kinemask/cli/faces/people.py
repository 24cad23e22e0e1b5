"""People by the names that a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinemask.cli.failures import usage_error

if TYPE_CHECKING:
    from kinemask.client import Client
    from kinemask.faces import Person


def named(client: Client, gallery_id: str, name: str) -> list[Person]:
    """Everybody of that very name, whatever the case; none where there is no such gallery.

    Raises:
        KinemaskError: the gallery cannot be read.
    """
    from kinemask.errors import NotFoundError

    wanted = name.strip().casefold()
    try:
        people = list(client.faces.people(gallery_id, name_contains=name.strip()))
    except NotFoundError:
        return []
    return [person for person in people if person.name.casefold() == wanted]


def the_one(client: Client, gallery_id: str, name: str, person_id: str) -> Person:
    """The person of that id, or else of that name.

    Raises:
        CommandError: nobody is called so, or several are.
        KinemaskError: nobody has that id.
    """
    if person_id:
        return client.faces.person(gallery_id, person_id)
    found = named(client, gallery_id, name)
    if not found:
        raise usage_error(
            f"nobody in gallery {gallery_id} is called {name!r}",
            f"kinemask faces list --gallery {gallery_id}",
        )
    return only(found, name)


def check_known(client: Client, gallery_id: str, name: str) -> None:
    """Whether somebody has that name, or that id.

    Raises:
        CommandError: nobody does.
        KinemaskError: the gallery cannot be read.
    """
    from kinemask.errors import NotFoundError

    if named(client, gallery_id, name):
        return
    try:
        client.faces.person(gallery_id, name.strip())
    except NotFoundError:
        the_one(client, gallery_id, name, "")


def only(found: list[Person], name: str) -> Person:
    """The single one of them.

    Raises:
        CommandError: there are several.
    """
    if len(found) > 1:
        ids = ", ".join(person.person_id for person in found)
        raise usage_error(f"{len(found)} people are called {name!r}: {ids}", "--person ID")
    return found[0]


def ensure_gallery(client: Client, gallery_id: str) -> bool:
    """Make the gallery if it is not there; whether it was made now.

    Raises:
        KinemaskError: it cannot be made.
    """
    from kinemask.errors import AlreadyExistsError, NotFoundError

    try:
        client.faces.gallery(gallery_id)
    except NotFoundError:
        try:
            client.faces.create_gallery(gallery_id)
        except AlreadyExistsError:  # somebody else was quicker
            return False
        return True
    return False
