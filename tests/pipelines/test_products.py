"""Products are written once, read back as they were, and named by what went in."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipelines.products import (
    IN_USE,
    SCRATCH,
    DamagedProduct,
    ProductStore,
    StoredProduct,
    collectable,
    decode,
    encode,
    product_key,
    usage,
)
from tests.pipelines.bucket import bucket


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


def _noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, count).astype(np.uint8)


def test_only_what_shrinks_is_packed_and_a_packed_array_that_was_changed_is_refused(tmp_path: Path) -> None:
    store = ProductStore(tmp_path)
    key = product_key("step", 1, [], {})
    flat, noise = np.zeros(100_000, np.float32), _noise(100_000)
    product = store.put(key, {}, {"flat": flat, "noise": noise})
    assert 100_000 < next(store.entries()).bytes < 102_000
    assert not product.arrays["flat"].flags.writeable
    blob = bytearray((tmp_path / key).read_bytes())
    last = max(at for at in range(len(blob) - 100_064) if blob[at])  # of the packed array: padding is zero
    blob[last] ^= 1
    (tmp_path / key).write_bytes(bytes(blob))
    again = store.get(key)
    assert again is not None
    np.testing.assert_array_equal(again.arrays["noise"], noise)
    with pytest.raises(DamagedProduct, match="array flat is not what was written"):
        again.arrays["flat"]


@pytest.mark.parametrize(("flat_share", "packed"), [(0.0, False), (0.1, False), (0.5, True), (1.0, True)])
def test_a_long_array_is_packed_where_enough_of_it_shrinks(flat_share: float, packed: bool) -> None:
    array = _noise(2_000_003)
    array[: int(flat_share * array.size)] = 7
    blob = encode({}, {"array": array})
    assert (len(blob) < 0.6 * array.size) is packed
    np.testing.assert_array_equal(decode("key", blob).arrays["array"], array)


def test_what_an_older_version_packed_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(100_000, dtype=np.int64) // 1000
    blob = encode({}, {"array": array})
    monkeypatch.setattr("pipelines.products.MAGIC", b"DWP3")
    older = encode({}, {"array": array})
    monkeypatch.undo()
    assert older[:4] == b"DWP3"
    assert older[4:] != blob[4:]
    assert max(len(older), len(blob)) < array.nbytes / 2
    np.testing.assert_array_equal(decode("key", older).arrays["array"], array)


def test_what_lasts_for_one_run_only_is_not_packed(tmp_path: Path) -> None:
    flat = np.zeros(100_000, np.float32)
    key = product_key("step", 1, [], {})
    product = ProductStore(f"{SCRATCH}{tmp_path}").put(key, {}, {"flat": flat})
    assert (tmp_path / key).stat().st_size > flat.nbytes
    np.testing.assert_array_equal(product.arrays["flat"], flat)


@given(st.integers(0, 2**31), st.integers(1, 255))
def test_a_changed_byte_is_either_refused_or_in_the_padding(at: int, change: int) -> None:
    header = {"a": "x" * 50}
    arrays: dict[str, NDArray[Any]] = {"flat": np.zeros(5000, np.int16), "noise": _noise(300)}
    blob = bytearray(encode(header, arrays))
    blob[at % len(blob)] ^= change
    try:
        back = decode("k", bytes(blob))
        read = {name: back.arrays[name] for name in arrays}
    except DamagedProduct:
        return
    assert back.header == header
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


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


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _entry(name: str, days_ago: float, size: int = 10) -> StoredProduct:
    return StoredProduct(f"chip/{name}", "chip", size, NOW - timedelta(days=days_ago))


def test_what_was_unused_for_long_is_chosen_and_nothing_else() -> None:
    entries = [_entry("new", 1), _entry("old", 40), _entry("older", 50)]
    chosen = collectable(entries, NOW, older_than=timedelta(days=30))
    assert [entry.key for entry in chosen] == ["chip/older", "chip/old"]
    assert collectable(entries, NOW) == []


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=8),
    st.integers(0, 300),
    st.floats(0, 100),
)
def test_no_more_is_kept_than_wanted_and_what_may_be_in_use_is_never_chosen(
    sizes: list[tuple[float, int]], keep: int, days: float
) -> None:
    entries = [_entry(str(n), age, size) for n, (age, size) in enumerate(sizes)]
    chosen = collectable(entries, NOW, older_than=timedelta(days=days), keep_bytes=keep)
    kept = [entry for entry in entries if entry not in chosen]
    assert all(NOW - entry.used >= IN_USE for entry in chosen)
    spare = [entry for entry in kept if NOW - entry.used >= IN_USE]
    assert not spare or sum(entry.bytes for entry in kept) <= keep
    assert all(NOW - entry.used < timedelta(days=days) for entry in spare)
    if chosen and spare:
        assert max(entry.used for entry in chosen) <= min(entry.used for entry in spare)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server with an empty bucket, and the settings that lead there."""
    with bucket("products") as address:
        yield address


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where products go."""
    return (
        str(tmp_path / "s")
        if request.param == "folder"
        else f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    )


def test_a_listing_counts_products_by_step_and_nothing_else(place: str) -> None:
    store = ProductStore(place)
    for number in range(3):
        store.put(product_key("chip", 1, [str(number)], {}), {}, {"x": _noise(1000)})
    store.put(product_key("evidence", 1, [], {}), {}, {})
    if "://" not in place:
        (Path(place) / "downloads").mkdir()
        (Path(place) / "downloads" / "scene.tif").write_bytes(b"no product")
    rows = usage(store.entries())
    assert [(row.step, row.count) for row in rows] == [("chip", 3), ("evidence", 1)]
    assert rows[0].bytes == sum(e.bytes for e in store.entries() if e.step == "chip") > 3000
    store.delete(next(store.entries()).key)
    store.delete(product_key("chip", 1, ["never made"], {}))
    assert len(list(store.entries())) == 3


def test_a_use_is_noted_in_a_folder(tmp_path: Path) -> None:
    store = ProductStore(tmp_path)
    key = product_key("chip", 1, [], {})
    store.put(key, {}, {})
    os.utime(tmp_path / key, (0, 0))
    assert next(store.entries()).used.year == 1970
    store.get(key)
    assert datetime.now(UTC) - next(store.entries()).used < timedelta(minutes=1)


def test_what_a_killed_writer_left_half_written_is_found_when_old(tmp_path: Path) -> None:
    store = ProductStore(tmp_path)
    store.put(product_key("chip", 1, [], {}), {}, {})
    half = tmp_path / (product_key("chip", 1, ["x"], {}) + "#1")
    half.write_bytes(b"half")
    assert len(list(store.entries())) == 1
    now = datetime.now(UTC)
    assert store.leftovers(now) == []
    assert store.leftovers(now + 2 * IN_USE) == [half]
