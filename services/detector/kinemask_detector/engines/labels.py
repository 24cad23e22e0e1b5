"""Which of a model's fixed labels a prompt means, and which come near to an unknown word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

_ARTICLES = {"a", "an", "the", "all", "any", "every", "each", "some"}
_IRREGULAR = {"person": "people", "mouse": "mice", "goose": "geese", "child": "children"}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NEAR = 0.6
_SHOWN = 5
_FEW = 10


class Vocabulary:
    """A model's labels, found by words whose case, articles, plurals and hyphens do not matter.

    Nothing else is taken for the same: a model that knows `car` is not asked for a `red car`.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self._by_words: dict[str, str] = {}
        for label in self.labels:
            for form in _forms(label):
                self._by_words.setdefault(form, label)

    def find(self, prompt: str) -> str | None:
        """The label that a prompt means; None if there is none."""
        return self._by_words.get(" ".join(_words(prompt)))


def near_labels(word: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Up to five labels that a stranger might have meant: those it shares a word with, then similar
    ones.

    All of them where they are few; none if nothing comes near.
    """
    if len(labels) <= _FEW:
        return tuple(labels)
    asked = _words(word)
    parts = {form for part in asked for form in (part, part.removesuffix("s"))}
    sharing = [label for label in labels if parts & set(_words(label))]
    by_words = {" ".join(_words(label)): label for label in labels}
    similar = difflib.get_close_matches(" ".join(asked), by_words, _SHOWN, _NEAR)
    return tuple(dict.fromkeys([*sharing, *(by_words[words] for words in similar)]))[:_SHOWN]


def _words(text: str) -> list[str]:
    words: list[str] = _WORD.findall(text.lower())
    return [word for word in words if word not in _ARTICLES] or words


def _forms(label: str) -> Iterator[str]:
    """A label's words, and those with its last one, the noun, in the plural."""
    words = _words(label)
    yield " ".join(words)
    if words:
        for plural in _plurals(words[-1]):
            yield " ".join([*words[:-1], plural])


def _plurals(noun: str) -> Iterator[str]:
    """More than English has, which does no harm: nobody asks for `buss`."""
    if noun in _IRREGULAR:
        yield _IRREGULAR[noun]
    yield f"{noun}s"
    yield f"{noun}es"
    if noun.endswith("y"):
        yield f"{noun[:-1]}ies"
    if noun.endswith(("f", "fe")):
        yield f"{noun.removesuffix('e')[:-1]}ves"
