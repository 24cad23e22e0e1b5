"""`kinemask models`: weights of the engines that need some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import FAILED, OK, command, say, usage_error
from kinemask.cli.options import AsJson, Debug

if TYPE_CHECKING:
    from kinemask.models import KnownModel, Store

models = typer.Typer(
    help="Weights of models: fetch them and check them. They lie in KINEMASK_DATA_DIR.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="See kinemask models list.")]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all that are here.")
]


@models.command(name="list")
@command
def list_models(as_json: AsJson = False, debug: Debug = False) -> int:
    """The models that can be fetched, and which are here."""
    from kinemask.cli.output import print_json, print_tables, table
    from kinemask.models import KNOWN

    store = _store()
    rows = [_facts(store, known) for known in KNOWN]
    if as_json:
        print_json({"models_dir": str(store.models_dir), "models": rows})
        return OK
    cells = [
        (row["name"], row["purpose"], row["license"], _size(row), _yes(row), row["repo"])
        for row in rows
    ]
    columns = ("Model", "For", "Licence", "MB#", "Here", "From")
    print_tables(table(columns, cells), f"In {store.models_dir}")
    return OK


@models.command()
@command
def pull(name: Name, debug: Debug = False) -> int:
    """Fetch a model from the Hugging Face hub, or from HF_ENDPOINT; does nothing if it is here.

    Published SHA-256 are checked. Where none are, the commit and the hashes of the first pull are
    recorded beside the files and held to from then on.
    """
    from kinemask.models import pull as fetch

    store, known = _store(), _known(name)
    fetched = fetch(store, known)
    say(f"{name} {'is now' if fetched else 'was already'} in {store.folder(known)}")
    if fetched:
        say("  services find it when they start")
    return OK


@models.command()
@command
def verify(names: Names = None, debug: Debug = False) -> int:
    """Check every byte of models that are here. Exits 1 if one is not what it should be."""
    from kinemask.models import KNOWN, ModelError

    store = _store()
    chosen = [_known(name) for name in names or ()]
    wrong = False
    for known in chosen or [known for known in KNOWN if store.folder(known).exists()]:
        try:
            complaints = store.complaints(known)
        except ModelError as error:
            complaints = (str(error),)
        wrong |= bool(complaints)
        for line in complaints or (f"{known.name}: right",):
            print(line)
    return FAILED if wrong else OK


def _store() -> Store:
    from kinemask.data_folder import models_dir
    from kinemask.models import Store

    return Store(models_dir())


def _known(name: str) -> KnownModel:
    from kinemask.models import known_model

    try:
        return known_model(name)
    except KeyError as error:
        raise usage_error(f"models: {error.args[0]}") from None


def _facts(store: Store, known: KnownModel) -> dict[str, object]:
    here = store.present(known)
    return {
        "name": known.name,
        "purpose": known.purpose,
        "license": known.license,
        "size_mb": round(store.size_bytes(known) / 1e6) if here else known.size_mb,
        "present": here,
        "folder": str(store.folder(known)),
        "repo": known.repo,
    }


def _size(row: dict[str, object]) -> object:
    return "?" if row["size_mb"] is None else row["size_mb"]


def _yes(row: dict[str, object]) -> str:
    return "yes" if row["present"] else "no"
