"""`kinemask faces enrol | list | recognise | verify | forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinemask.cli.faces.options import (
    DEFAULT_GALLERY,
    GalleryId,
    Images,
    Model,
    PersonId,
    Server,
    Similarity,
)
from kinemask.cli.failures import NOTHING_FOUND, OK, command, say, usage_error
from kinemask.cli.options import AsJson, Debug, Overwrite

faces = typer.Typer(
    help="People in galleries, and whose face it is in a picture.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@faces.command()
@command
def enrol(
    name: Name,
    images: Images,
    gallery: GalleryId = DEFAULT_GALLERY,
    person: PersonId = "",
    only_face: Annotated[
        bool, typer.Option("--only-face", help="Refuse pictures with several faces.")
    ] = False,
    min_quality: Annotated[
        float | None, typer.Option(min=0, max=1, help="Refuse faces of a lower quality.")
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Remember somebody by pictures: the largest face of each.

    kinemask faces enrol "Alice" alice-1.jpg alice-2.jpg

    Whoever is not known yet is made, and so is the gallery. A folder stands for all pictures in it.

    Exit codes: 0 a face is known now, 1 failed, 2 cannot be done as asked, 3 no picture would do.
    """
    from kinemask.cli.faces.enrolling import Enrolment, pictures_of
    from kinemask.cli.faces.server import faces_gateway

    images = pictures_of(images)
    _check_files(images)
    if not name.strip():
        raise usage_error("expected a name, got nothing", 'kinemask faces enrol "Alice" alice.jpg')
    with faces_gateway(server, debug=debug) as client:
        enrolment = Enrolment(client, gallery, name, person)
        known = enrolment.run(images, only_face, min_quality)
    enrolment.tell(as_json)
    return OK if known else NOTHING_FOUND


@faces.command(name="list")
@command
def list_people(
    gallery: GalleryId = DEFAULT_GALLERY,
    name: Annotated[str, typer.Option(help="Only those whose name has this in it.")] = "",
    strangers: Annotated[
        bool | None,
        typer.Option(
            "--strangers/--no-strangers", help="Only strangers, or none.", show_default=False
        ),
    ] = None,
    galleries: Annotated[
        bool, typer.Option("--galleries", help="The galleries, not the people of one.")
    ] = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """The people of a gallery, by name."""
    from kinemask.cli.faces import telling
    from kinemask.cli.faces.server import faces_gateway

    with faces_gateway(server, debug=debug) as client:
        if galleries:
            telling.tell_galleries(list(client.faces.galleries()), as_json)
            return OK
        found = list(client.faces.people(gallery, name_contains=name, stranger=strangers))
    telling.tell_people(gallery, found, as_json)
    return OK


@faces.command()
@command
def recognise(
    images: Images,
    gallery: GalleryId = DEFAULT_GALLERY,
    threshold: Similarity = None,
    min_margin: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="Least lead over the runner-up; less is undecided."),
    ] = None,
    enrol_strangers: Annotated[
        bool, typer.Option("--enrol-strangers", help="Remember unknown faces too, under an id.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Draw the names; a folder for several pictures."
        ),
    ] = None,
    overwrite: Overwrite = False,
    model: Model = "auto",
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Say whose faces are in pictures; unknown ones are told too.

    kinemask faces recognise party.jpg -o named.jpg

    Exit codes: 0 somebody was recognised, 1 failed, 2 cannot be done as asked, 3 nobody was.
    """
    from kinemask.cli.faces import telling
    from kinemask.cli.faces.server import faces_gateway
    from kinemask.cli.pictures import picture_targets, read_picture

    _check_files(images)
    targets = picture_targets(images, output, overwrite)
    pictures = [read_picture(path) for path in images]
    found = []
    with faces_gateway(server, debug=debug) as client:
        for picture in pictures:
            [one] = client.faces.recognise(
                gallery,
                [picture],
                threshold=threshold,
                min_margin=min_margin,
                enrol_strangers=enrol_strangers,
                model=model,
            )
            if one.error is not None:
                raise one.error
            found.append(one)
    for picture, target, one in zip(pictures, targets, found, strict=True):
        if target is not None:
            telling.draw(picture, target, one)
    telling.tell_recognised(images, found, targets, as_json)
    known = ("known", "stranger")
    return OK if any(f.decision in known for one in found for f in one.faces) else NOTHING_FOUND


@faces.command()
@command
def verify(
    first: Annotated[Path, typer.Argument(metavar="IMAGE", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="IMAGE", show_default=False)],
    threshold: Similarity = None,
    model: Model = "auto",
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Say whether two pictures show the same person: the largest face of each.

    Exit codes: 0 the same person, 1 failed, 2 cannot be done as asked, 3 two people.
    """
    from kinemask.cli.faces import telling
    from kinemask.cli.faces.server import faces_gateway

    _check_files([first, second])
    with faces_gateway(server, debug=debug) as client:
        answer = client.faces.verify(first, second, threshold=threshold, model=model)
    telling.tell_verified(answer, as_json)
    return OK if answer.same else NOTHING_FOUND


@faces.command()
@command
def forget(
    name: Annotated[str, typer.Argument(metavar="[NAME]", show_default=False)] = "",
    gallery: GalleryId = DEFAULT_GALLERY,
    person: PersonId = "",
    strangers: Annotated[
        bool, typer.Option("--strangers", help="Everybody who was enrolled by recognition.")
    ] = False,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="The whole gallery, people and all.")
    ] = False,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Remove somebody for good: name, samples, vectors and crops.

    kinemask faces forget "Alice"
    """
    from kinemask.cli.faces.people import the_one
    from kinemask.cli.faces.server import faces_gateway

    if sum((bool(name.strip() or person), strangers, everybody)) != 1:
        raise usage_error("expected one of NAME, --person, --strangers and --everybody")
    with faces_gateway(server, debug=debug) as client:
        if everybody:
            gone = client.faces.delete_gallery(gallery, force=True)
            say(f"removed gallery {gallery}: {_counted(gone.person_count, gone.sample_count)}")
        elif strangers:
            gone = client.faces.clear_gallery(gallery, only_strangers=True)
            say(f"removed {_counted(gone.person_count, gone.sample_count)} from {gallery}")
        else:
            known = the_one(client, gallery, name, person)
            samples = client.faces.delete_person(gallery, known.person_id)
            say(f"removed {known.name} ({known.person_id}): {samples} samples")
    return OK


def _counted(people: int, samples: int) -> str:
    return f"{people} people with {samples} samples"


def _check_files(paths: list[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise usage_error(f"{path}: {'expected a' if path.exists() else 'no such'} file")
