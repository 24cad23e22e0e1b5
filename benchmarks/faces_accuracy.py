"""How well the face models tell people apart.

    python -m benchmarks.faces_accuracy --data FOLDER     # FOLDER/PERSON/*.jpg
    python -m benchmarks.faces_accuracy --pairs FILE      # csv: image,image,1 if the same else 0

Identification: some pictures of each person are enrolled, the others looked up, over many splits
that rotate so that every picture is enrolled equally often. A picture without a face counts as
wrong when it is looked up. Verification: `--pairs`, or within FOLDER all pairs of pictures.
A picture without a face, such as a tight crop, is looked at again with its edges repeated.

Ends with one JSON line, `{"engines": {NAME: {...}}}`; all rates are 0..1. With `--data`:
`top1` (the best match is the right person), `tar_at_far0` (share of pairs of one person that are
more alike than any pair of two people), `eer` (equal error rate of all pairs), `images`, `people`,
`images_without_face`, `splits`, `accuracy` (pairs on the right side of the model's own threshold).
With `--pairs`: `accuracy`, `eer`, `images_without_face`, `pairs`, `best_accuracy` (with the best
threshold for these very pairs), `threshold`. A pair with a picture without a face is answered
"not the same" with similarity -1.
Engines: those whose weights are there; name files by `--sface`, `--scrfd` and `--arcface`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from kinemask_faces.engines.base import FaceModel, Image
from kinemask_faces.engines.registry import ModelFiles, load_models
from numpy.typing import NDArray

from benchmarks.faces_pairs import (
    Floats,
    Pair,
    accept_rate_at_no_false_accept,
    accuracy,
    best_accuracy,
    equal_error_rate,
    read_pairs,
)

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_PADDING = 0.5
Vectors = dict[Path, NDArray[np.float32] | None]


@dataclass(frozen=True)
class Scores:
    """One model's row; what does not apply is None."""

    top1: float | None
    tar_at_far0: float | None
    eer: float
    accuracy: float
    best_accuracy: float
    threshold: float
    images: int
    people: int | None
    pairs: int
    images_without_face: int
    splits: int | None


def read_rgb(path: Path) -> Image:
    """Raises ValueError if the file is not a picture."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"expected a picture, could not read {path}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def vector(model: FaceModel, image: Image) -> NDArray[np.float32] | None:
    """The largest face's, `(D,)`; None if there is no face."""
    least = model.info.score_threshold
    [faces] = model.detect([image], least)
    if not faces:
        margin = round(_PADDING * min(image.shape[:2]))
        sides = (margin, margin, margin, margin)
        image = np.asarray(cv2.copyMakeBorder(image, *sides, cv2.BORDER_REPLICATE), np.uint8)
        [faces] = model.detect([image], least)
    if not faces:
        return None
    row: NDArray[np.float32] = model.embed([model.align(image, faces[0].landmarks_xy)])[0]
    return row


def vectors_of(model: FaceModel, paths: Iterable[Path]) -> Vectors:
    """Every picture's, once."""
    return {path: vector(model, read_rgb(path)) for path in sorted(set(paths))}


def similarity(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float:
    """Cosine, -1..1; -1 if there is no face."""
    return -1.0 if one is None or other is None else float(one @ other)


def top1(people: dict[str, list[Path]], vectors: Vectors, enrolled: int) -> tuple[float, int]:
    """Share of right answers over all splits, and how many splits there are.

    Split k enrols `enrolled` pictures of each person, from the k-th on and around the end.
    """
    splits = max(len(paths) for paths in people.values())
    right: list[bool] = []
    for start in range(splits):
        known = {name: _rotated(paths, start)[:enrolled] for name, paths in people.items()}
        for name, paths in people.items():
            for path in _rotated(paths, start)[enrolled:]:
                right.append(_best(vectors[path], known, vectors) == name)
    return float(np.mean(right)), splits


def _rotated(paths: list[Path], start: int) -> list[Path]:
    first = start % len(paths)
    return paths[first:] + paths[:first]


def _best(
    wanted: NDArray[np.float32] | None, known: dict[str, list[Path]], vectors: Vectors
) -> str | None:
    if wanted is None:
        return None
    alike = {
        name: max(similarity(wanted, vectors[path]) for path in paths)
        for name, paths in known.items()
    }
    return max(alike, key=lambda name: alike[name])


def score_people(model: FaceModel, people: dict[str, list[Path]], enrolled: int) -> Scores:
    """Identification and verification among the people of a folder."""
    owner = {path: name for name, paths in people.items() for path in paths}
    vectors = vectors_of(model, owner)
    paths = sorted(owner)
    pairs = [
        Pair(one, other, owner[one] == owner[other])
        for index, one in enumerate(paths)
        for other in paths[index + 1 :]
    ]
    rate, splits = top1(people, vectors, enrolled)
    return _scores(model, pairs, vectors, top1=rate, splits=splits, people=len(people))


def score_pairs(model: FaceModel, pairs: Sequence[Pair]) -> Scores:
    """Verification of given pairs."""
    vectors = vectors_of(model, (path for pair in pairs for path in (pair.first, pair.second)))
    return _scores(model, pairs, vectors)


def _scores(
    model: FaceModel,
    pairs: Sequence[Pair],
    vectors: Vectors,
    *,
    top1: float | None = None,
    splits: int | None = None,
    people: int | None = None,
) -> Scores:
    alike: Floats = np.array([similarity(vectors[p.first], vectors[p.second]) for p in pairs])
    same = np.array([pair.same for pair in pairs])
    threshold = model.info.match_threshold
    return Scores(
        top1=top1,
        tar_at_far0=accept_rate_at_no_false_accept(alike, same) if people else None,
        eer=equal_error_rate(alike, same),
        accuracy=accuracy(alike, same, threshold),
        best_accuracy=best_accuracy(alike, same),
        threshold=threshold,
        images=len(vectors),
        people=people,
        pairs=len(pairs),
        images_without_face=sum(row is None for row in vectors.values()),
        splits=splits,
    )


def people_in(folder: Path, enrolled: int) -> dict[str, list[Path]]:
    """Pictures by person.

    Raises:
        ValueError: fewer than two people, or one with nothing left to look up.
    """
    people = {
        person.name: sorted(path for path in person.iterdir() if path.suffix.lower() in _SUFFIXES)
        for person in sorted(folder.iterdir())
        if person.is_dir()
    }
    people = {name: paths for name, paths in people.items() if paths}
    if len(people) < 2:
        raise ValueError(f"{folder}: expected folders of at least two people, found {len(people)}")
    for name, paths in people.items():
        if len(paths) <= enrolled:
            raise ValueError(
                f"{folder / name}: expected more than {enrolled} pictures, found {len(paths)}"
            )
    return people


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    options = _parser().parse_args(arguments)
    models = load_models(
        ModelFiles(
            yunet=options.yunet,
            sface=options.sface,
            scrfd=options.scrfd,
            arcface=options.arcface,
            accept_noncommercial_licence=options.accept_noncommercial_licence,
        )
    )
    try:
        rows = {name: _row(model, options) for name, model in models.models.items()}
    except (OSError, ValueError) as error:
        print(f"faces_accuracy: {error}", file=sys.stderr)
        return 2
    for missing in models.missing:
        print(f"left out {missing.name}: {missing.how}", file=sys.stderr)
    print(json.dumps({"engines": rows}))
    return 0


def _row(model: FaceModel, options: argparse.Namespace) -> dict[str, float | int | None]:
    if options.pairs:
        scores = score_pairs(model, read_pairs(options.pairs))
    else:
        scores = score_people(model, people_in(options.data, options.enrol), options.enrol)
    print(f"{model.info.name}: {scores}", file=sys.stderr)
    # NaN is not JSON: a rate that has no meaning is left out, like one that does not apply.
    return {k: v for k, v in vars(scores).items() if v is not None and v == v}


def _parser() -> argparse.ArgumentParser:
    summary, *_ = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser("python -m benchmarks.faces_accuracy", description=summary)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path, help="folder with one folder of pictures a person")
    what.add_argument("--pairs", type=Path, help="csv file: image,image,1 or 0")
    parser.add_argument("--enrol", type=int, default=3, help="pictures enrolled of each person")
    for name in ("yunet", "sface", "scrfd", "arcface"):
        parser.add_argument(f"--{name}", type=Path, help=f"file of {name}'s weights")
    parser.add_argument("--accept-noncommercial-licence", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
