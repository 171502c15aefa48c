"""Products are written once, read back as they were, and named by what went in."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.products import DamagedProduct, ProductStore, decode, encode, product_key


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        hnp.arrays(
            st.sampled_from([np.int8, np.float16, np.float32, np.uint8]), hnp.array_shapes(max_dims=3)
        ),
        max_size=3,
    ),
)
def test_what_goes_in_comes_out(header: dict[str, object], arrays: dict[str, np.ndarray]) -> None:
    back = decode("k", encode(header, arrays))
    assert back.header == header
    assert set(back.arrays) == set(arrays)
    for name, array in arrays.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


def test_a_second_write_changes_nothing(tmp_path: Path) -> None:
    store = ProductStore(tmp_path)
    key = product_key("step", 1, ["a"], {})
    store.put(key, {"n": 1}, {"x": np.arange(3)})
    again = store.put(key, {"n": 2}, {"x": np.arange(4)})
    assert again.header == {"n": 1}
    assert again.arrays["x"].tolist() == [0, 1, 2]
    assert [entry.step for entry in store.entries()] == ["step"]


def test_a_deleted_product_is_simply_absent(tmp_path: Path) -> None:
    store = ProductStore(tmp_path)
    key = product_key("step", 1, [], {})
    assert store.get(key) is None
    store.put(key, {}, {})
    assert store.has(key)
    store.delete(key)
    assert not store.has(key)
    assert store.get(key) is None


@pytest.mark.parametrize("cut", [0, 3, 20, -64])
def test_a_truncated_product_is_refused_by_name(tmp_path: Path, cut: int) -> None:
    store = ProductStore(tmp_path)
    key = product_key("step", 1, [], {})
    store.put(key, {"a": 1}, {"x": np.arange(100, dtype=np.float32)})
    path = tmp_path / key
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedProduct, match=key.split("/")[1]):
        store.get(key)


def test_keys_differ_exactly_where_something_that_went_in_differs() -> None:
    base = product_key("s", 1, ["a", "b"], {"p": 1, "q": 2})
    assert base == product_key("s", 1, ["a", "b"], {"q": 2, "p": 1})
    others = [
        product_key("t", 1, ["a", "b"], {"p": 1, "q": 2}),
        product_key("s", 2, ["a", "b"], {"p": 1, "q": 2}),
        product_key("s", 1, ["b", "a"], {"p": 1, "q": 2}),
        product_key("s", 1, ["a", "b"], {"p": 1, "q": 3}),
    ]
    assert len({base, *others}) == 5
