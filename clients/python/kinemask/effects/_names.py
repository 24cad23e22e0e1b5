"""Whom an effect is for: everybody but some people, or some people alone.

While nobody can say who somebody is, the effect is drawn: a face that should have stayed visible is
covered for a moment rather than the other way round.
"""

from dataclasses import dataclass, field

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

    def keeps(self, who: Who) -> bool:
        """Whether it is known who this is, and the names leave them out.

        Only then nothing that is drawn beside somebody may change their pixels.
        """
        return who.decided and not self.draws_on(who)

    def _names(self, who: Who) -> bool:
        known = {who.person_id.casefold(), who.name.strip().casefold()} - {""}
        return bool(known & self._wanted)


def is_nameable(label: str) -> bool:
    """True for what may have a face: faces and people."""
    return bool((_FACES | _PEOPLE) & set(label.lower().split()))


def is_person(label: str) -> bool:
    """True for somebody with a body, whose face is to be found in it."""
    return is_nameable(label) and not _FACES & set(label.lower().split())
