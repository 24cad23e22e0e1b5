"""Words and the fixed labels of a model."""

from __future__ import annotations

import pytest
from kinemask_detector.engines.labels import Vocabulary, near_labels

COCO = (
    *("person", "bicycle", "car", "bus", "traffic light", "stop sign", "bench", "cat", "sheep"),
    *("tennis racket", "wine glass", "knife", "couch", "tv", "mouse", "toothbrush", "hair drier"),
)


@pytest.mark.parametrize(
    ("prompt", "label"),
    [
        pytest.param("car", "car", id="as it is"),
        pytest.param(" The  CARS! ", "car", id="case, article, plural, punctuation"),
        pytest.param("buses", "bus", id="plural of s"),
        pytest.param("bus", "bus", id="a singular that ends in s"),
        pytest.param("benches", "bench", id="plural of ch"),
        pytest.param("wine glasses", "wine glass", id="plural of ss"),
        pytest.param("traffic-lights", "traffic light", id="hyphen"),
        pytest.param("stop_sign", "stop sign", id="underscore"),
        pytest.param("all people", "person", id="people"),
        pytest.param("knives", "knife", id="irregular"),
        pytest.param("sheep", "sheep", id="no plural of its own"),
        pytest.param("TVs", "tv", id="short"),
        pytest.param("red car", None, id="asks for more than the model sees"),
        pytest.param("light", None, id="a part of a label"),
        pytest.param("man", None, id="another word for it"),
        pytest.param("", None, id="empty"),
        pytest.param("the", None, id="an article alone"),
        pytest.param("!?", None, id="no word"),
    ],
)
def test_words_that_mean_a_label(prompt: str, label: str | None) -> None:
    assert Vocabulary(COCO).find(prompt) == label


@pytest.mark.parametrize(
    ("word", "near"),
    [
        pytest.param("red cars", "car", id="contains one"),
        pytest.param("light", "traffic light", id="is a part of one"),
        pytest.param("bycicle", "bicycle", id="misspelt"),
        pytest.param("hair dryer", "hair drier", id="spelt another way"),
    ],
)
def test_near_labels_have_what_was_meant_first(word: str, near: str) -> None:
    found = near_labels(word, COCO)
    assert found[0] == near and len(found) <= 5


def test_nothing_is_near_to_a_strange_word() -> None:
    assert near_labels("xylophone", COCO) == ()
    assert near_labels("", COCO) == ()


def test_of_few_labels_all_are_told() -> None:
    assert near_labels("xylophone", ("face", "person")) == ("face", "person")
