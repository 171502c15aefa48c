"""Filters in CQL2: what they find, what they refuse, and that null is neither true nor false."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cql import Kind, parse
from service.errors import BadQuery

ASKED: dict[str, Kind] = {
    "direction": "string",
    "confidence": "number",
    "used": "boolean",
    "first_seen": "date-time",
    "odd name": "string",
}
TOLD: dict[str, Any] = {
    "direction": "appeared",
    "confidence": 0.75,
    "used": True,
    "first_seen": "2024-06-01T10:00:00Z",
    "odd name": None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("direction = 'appeared'", True),
        ("DIRECTION = 'appeared'", BadQuery),
        ("direction <> 'appeared'", False),
        ("'appeared' = direction", True),
        ("confidence >= 0.75", True),
        ("confidence > 7.5e-1", False),
        ("confidence > -1 and used = TRUE", True),
        ("used = false or confidence < .5", False),
        ("not (direction = 'removed')", True),
        ("direction = 'x' OR direction = 'appeared' AND confidence < 0.5", False),
        ("(direction = 'x' OR direction = 'appeared') AND NOT confidence < 0.5", True),
        ("confidence BETWEEN 0.75 AND 0.8", True),
        ("confidence NOT BETWEEN 0.75 AND 0.8", False),
        ("direction IN ('removed', 'appeared')", True),
        ("direction NOT IN ('removed')", True),
        ("direction LIKE 'app%d'", True),
        ("direction LIKE 'App%'", False),
        ("direction ILIKE 'App%'", True),
        ("direction LIKE '_ppeared'", True),
        ("direction LIKE 'a.peared'", False),
        ("first_seen >= '2024-06-01T10:00:00Z'", True),
        ("first_seen > TIMESTAMP('2024-06-01T10:00:00Z')", False),
        ("first_seen = TIMESTAMP('2024-06-01T12:00:00+02:00')", True),
        ("first_seen < DATE('2024-06-01')", False),
        ('"odd name" IS NULL', True),
        ('"odd name" IS NOT NULL', False),
        ("\"odd name\" = 'x'", None),
        ("NOT \"odd name\" = 'x'", None),
        ("\"odd name\" = 'x' OR used = TRUE", True),
        ("\"odd name\" = 'x' AND used = FALSE", False),
        ("\"odd name\" LIKE '%' ", None),
    ],
)
def test_a_filter_judges_as_cql2_says(text: str, expected: Any) -> None:
    if expected is BadQuery:
        with pytest.raises(BadQuery, match="it may ask for confidence, direction"):
            parse(text, ASKED)
    else:
        assert parse(text, ASKED)(TOLD) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "direction",
        "direction =",
        "= 'x'",
        "direction = 'x' direction = 'y'",
        "direction = 'x",
        "(direction = 'x'",
        "direction = 5",
        "used > 'x'",
        "first_seen > 'yesterday'",
        "first_seen > TIMESTAMP(5)",
        "confidence LIKE '5%'",
        "direction LIKE direction",
        "direction IN ()",
        "confidence + 1 > 2",
        "S_INTERSECTS(geometry, POINT(1 2))",
        "direction = 'x'; DROP TABLE sites",
        "direction = 'a\x00' OR",
        "(" * 500 + "used = TRUE" + ")" * 500,
        "NOT " * 900 + "used = TRUE",
        "used = TRUE OR " * 400 + "used = TRUE",
    ],
)
def test_what_is_not_understood_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parse(text, ASKED)
    assert refused.value.detail.count("\n") == 0


@given(st.text(alphabet="ab%_.\\", max_size=12), st.text(alphabet="ab%_.\\\n", max_size=12))
def test_like_is_what_a_plain_translation_gives(pattern: str, text: str) -> None:
    signs = re.findall(r"\\.|.", pattern, re.DOTALL)
    plain = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign[-1])) for sign in signs)
    expected = re.fullmatch(plain, text, re.DOTALL) is not None
    assert parse(f"direction LIKE '{pattern}'", ASKED)({"direction": text}) is expected


@given(
    st.recursive(
        st.booleans() | st.none(), lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), inner, inner)
    )
)
def test_logic_is_that_of_three_values(tree: Any) -> None:
    words = {True: "used = TRUE", False: "used = FALSE", None: "\"odd name\" = 'x'"}

    def write(node: Any) -> str:
        return f"({write(node[1])} {node[0]} {write(node[2])})" if isinstance(node, tuple) else words[node]

    def judge(node: Any) -> bool | None:
        if not isinstance(node, tuple):
            value: bool | None = node
            return value
        sides = {judge(node[1]), judge(node[2])}
        decisive = node[0] == "OR"
        return decisive if decisive in sides else None if None in sides else not decisive

    text = write(tree)
    if len(text) <= 4_000:
        assert parse(text, ASKED)(TOLD) is judge(tree)
