"""Equal values are equal bytes, whoever laid them out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagery.changes import ObjectClass
from pipelines.report.canonical import json_bytes

plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(
    st.recursive(
        plain,
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_json_is_laid_out_as_pythons_own_encoder_does(value: object) -> None:
    expected = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    assert json_bytes(value) == expected.encode()


def test_named_values_are_their_texts() -> None:
    assert json_bytes([ObjectClass.BERM]) == b'[\n  "berm"\n]\n'


@pytest.mark.parametrize("value", [float("nan"), [float("-inf")]])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_bytes(value)
