"""Which of a model's fixed labels a prompt means, and which come near to an unknown word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_ARTICLES = {"a", "an", "the", "all", "any", "every", "each", "some"}
_IRREGULAR = {"people": "person", "mice": "mouse", "knives": "knife", "geese": "goose"}
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
            self._by_words.setdefault(_singular(label), label)
            self._by_words.setdefault(" ".join(_words(label)), label)

    def find(self, prompt: str) -> str | None:
        """The label that a prompt means; None if there is none."""
        words = " ".join(_words(prompt))
        return self._by_words.get(words) or self._by_words.get(_singular(prompt))


def near_labels(word: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Up to five labels that a stranger might have meant: similar ones, and those it contains.

    All of them where they are few; none if nothing comes near.
    """
    if len(labels) <= _FEW:
        return tuple(labels)
    asked = _singular(word)
    by_words = {_singular(label): label for label in labels}
    similar = difflib.get_close_matches(asked, by_words, _SHOWN, _NEAR)
    parts = set(asked.split())
    sharing = [words for words in by_words if parts & set(words.split())]
    found = dict.fromkeys([*sharing, *similar])
    return tuple(by_words[words] for words in found)[:_SHOWN]


def _words(text: str) -> list[str]:
    words: list[str] = _WORD.findall(text.lower())
    return [word for word in words if word not in _ARTICLES] or words


def _singular(text: str) -> str:
    """Its words with the last one, the noun, without its plural."""
    words = _words(text)
    if not words:
        return ""
    last = words[-1]
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif re.search(r"(ch|sh|ss|x)es$", last):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith("ss"):
        last = last[:-1]
    return " ".join([*words[:-1], last])
