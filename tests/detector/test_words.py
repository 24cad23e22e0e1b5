"""Which prompts the classic engine takes, and for what."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemask_detector.engines.words import FACE, PERSON, label_of


@pytest.mark.parametrize(
    "prompt",
    [
        *("face", "faces", "Face", "  FACES. ", "a face", "the faces", "all faces"),
        *("human face", "a person's face", "people’s faces", "faces of people", "head", "heads"),
    ],
)
def test_words_for_faces(prompt: str) -> None:
    assert label_of(prompt) == FACE


@pytest.mark.parametrize(
    "prompt",
    [
        *("person", "people", "persons", "pedestrian", "man", "men", "women", "a woman", "child"),
        *("every child", "children", "humans", "human being", "body", "bodies", "passers-by"),
        *("standing person", "human body"),
    ],
)
def test_words_for_people(prompt: str) -> None:
    assert label_of(prompt) == PERSON


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("red car", id="another thing"),
        pytest.param("cat face", id="another's face"),
        pytest.param("clock face", id="no face at all"),
        pytest.param("woman in red", id="more than can be seen, behind"),
        pytest.param("smiling face", id="more than can be seen, before"),
        pytest.param("", id="empty"),
        pytest.param("the", id="only an article"),
        pytest.param("!?", id="no word"),
        pytest.param("surface", id="part of a word"),
        pytest.param("of faces", id="nothing of something"),
    ],
)
def test_what_cannot_be_found(prompt: str) -> None:
    assert label_of(prompt) is None


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_has_an_answer(prompt: str) -> None:
    assert label_of(prompt) in (FACE, PERSON, None)
