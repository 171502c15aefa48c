"""Titles of news claim what is visible, and no more than the pixels of a change or its count allow."""

from typing import Any

import pytest

from imagery.changes import ObjectClass
from service.digest_text import as_markdown
from service.words import counted, happening
from tests.service.test_digests import sample


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"count": 12, "gsd": 0.5}, "objects consistent with containers appeared"),
        ({"count": 1, "gsd": 0.5, "direction": "removed"}, "object consistent with a container was removed"),
        ({"count": None, "direction": "removed"}, "objects consistent with containers were removed"),
        ({"change_type": "berm"}, "earth bank consistent with a berm appeared"),
        ({"change_type": "other", "gsd": 0.5}, "structural change not identified appeared"),
        (
            {"change_type": "other", "gsd": 10.0},
            "area of objects or disturbed ground, class uncertain, appeared",
        ),
        ({"change_type": "other"}, "area of objects or disturbed ground, class uncertain, appeared"),
        ({"change_type": "crane", "direction": "turned"}, "object classed as crane turned"),
    ],
)
def test_a_title_says_what_is_visible(told: dict[str, Any], said: str) -> None:
    assert happening({"change_type": "container", "direction": "appeared", **told}) == said


@pytest.mark.parametrize("kind", list(ObjectClass))
def test_no_class_is_told_as_a_thing_that_is_there(kind: ObjectClass) -> None:
    said = happening({"change_type": str(kind), "direction": "appeared"})
    assert not said.startswith(("container", "berm"))


def test_a_digest_says_it_in_the_same_words() -> None:
    assert "[Updated: objects consistent with containers appeared]" in as_markdown(sample(), "http://h")


def test_a_number_comes_with_its_noun() -> None:
    assert [counted(n, "look") for n in (0, 1, 2)] == ["0 looks", "1 look", "2 looks"]
