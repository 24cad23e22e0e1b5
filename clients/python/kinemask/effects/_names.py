"""Whom an effect is for: everybody but some people, or some people alone.

While nobody can say who somebody is, the effect is drawn: a face that should have stayed visible is
covered for a moment rather than the other way round.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from kinemask.images import Image
from kinemask.masks import Mask, mask_box

_GUARD = 0.05
"""Measured: where two faces cross, 0.02 leaves 2 % of one of them uncovered on a frame, 0.05 leaves
0.4 %."""
_FACES = frozenset({"face", "faces"})
_PEOPLE = frozenset(
    {"person", "persons", "people", "human", "man", "men", "woman", "women", "child", "children"}
    | {"boy", "girl", "pedestrian", "head"}
)


@dataclass(frozen=True)
class Who:
    """What is known of one object's name."""

    label: str
    """What it is, such as `face`."""
    decided: bool = False
    person_id: str = ""
    """Empty for somebody who is decided to be nobody known."""
    name: str = ""


@dataclass(frozen=True)
class NameRule:
    """Except these people, or only these: by name or id, whatever the case."""

    except_names: tuple[str, ...] = ()
    only_names: tuple[str, ...] = ()
    _wanted: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.except_names and self.only_names:
            raise ValueError("expected names to except, or the only names, found both")
        names = self.except_names or self.only_names
        object.__setattr__(self, "_wanted", frozenset(name.strip().casefold() for name in names))

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def draws_on(self, who: Who) -> bool:
        """Whether the effect is drawn on this object."""
        if self.except_names:
            return not (who.decided and self._names(who))
        if self.only_names:
            return is_nameable(who.label) and (not who.decided or self._names(who))
        return True

    def _names(self, who: Who) -> bool:
        known = {who.person_id.casefold(), who.name.strip().casefold()} - {""}
        return bool(known & self._wanted)


def is_nameable(label: str) -> bool:
    """True for what may have a face: faces and people."""
    return bool((_FACES | _PEOPLE) & set(label.lower().split()))


def is_person(label: str) -> bool:
    """True for somebody with a body, whose face is to be found in it."""
    return is_nameable(label) and not _FACES & set(label.lower().split())


def restore(
    drawn: Image, original: Image, kept: Iterable[Mask], covered: Iterable[Mask | None]
) -> None:
    """Give those who are to stay visible their pixels back, where an effect grew over them.

    The masks of those who are covered stay so, and a little around them: where two people touch,
    masks are some pixels wrong, and it is better to cover a few pixels of the one than to show the
    other.

    Args:
        drawn: `(H, W, 3)` uint8, written to.
        original: the same before anything was drawn.
        kept: masks `(H, W)` bool of those who stay visible.
        covered: masks of those who do not; None for one known by its box alone.
    """
    back = np.zeros(drawn.shape[:2], bool)
    for mask in kept:
        back |= mask
    for hidden in covered:
        if hidden is not None:
            back &= ~_guarded(hidden)
    np.copyto(drawn, original, where=back[..., None])


def _guarded(mask: Mask) -> Mask:
    """The mask grown by `_GUARD` of its box's longer side."""
    box = mask_box(mask)
    if box is None:
        return mask
    x_min, y_min, x_max, y_max = box
    grow = max(1, round(_GUARD * max(x_max - x_min, y_max - y_min)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    height, width = mask.shape
    rows = slice(max(y_min - grow, 0), min(y_max + grow, height))
    columns = slice(max(x_min - grow, 0), min(x_max + grow, width))
    grown = mask.copy()
    grown[rows, columns] = cv2.dilate(mask[rows, columns].view(np.uint8), kernel) > 0
    return grown
