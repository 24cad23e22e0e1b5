"""Which words mean what the classic engine can find."""

from __future__ import annotations

import re

FACE = "face"
PERSON = "person"

_FACE_NOUNS = {"face", "head", "visage"}
# The engine tells none of these apart: each finds every person.
_PERSON_NOUNS = {
    *("person", "pedestrian", "human", "man", "woman", "child", "kid", "boy", "girl", "adult"),
    *("body", "guy", "lady", "someone", "somebody", "individual", "passer-by", "being"),
}
_NOUNS = dict.fromkeys(_FACE_NOUNS, FACE) | dict.fromkeys(_PERSON_NOUNS, PERSON)
# Before the noun, words that leave out nothing: "a human face", "every man's face".
_MODIFIERS = _PERSON_NOUNS | {"whole", "full", "entire", "visible", "standing", "walking"}
_ARTICLES = {"a", "an", "the", "all", "any", "every", "each", "some", "this", "that", "these"}
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "passers-by": "passer-by",
    "bodies": "body",
    "ladies": "lady",
}
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


def label_of(prompt: str) -> str | None:
    """`face`, `person`, or None for what cannot be found.

    Case, articles, plurals and punctuation do not matter. A word that asks for more than can be
    seen ("red face") makes the prompt unknown: to find every face would not be what was asked.
    """
    words = [_singular(word) for word in _WORD.findall(prompt.lower())]
    if "of" in words:  # "faces of people"
        words = words[: words.index("of")]
    words = [word for word in words if word not in _ARTICLES]
    if not words or any(word not in _MODIFIERS for word in words[:-1]):
        return None
    return _NOUNS.get(words[-1])


def _singular(word: str) -> str:
    word = re.sub(r"['’]s?$", "", word)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    return word[:-1] if word.endswith("s") and word[:-1] in _NOUNS else word
