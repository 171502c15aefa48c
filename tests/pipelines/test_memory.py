"""No unit takes more memory than runs are planned by, and what can never fit is refused before it is begun."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.memory import CASES, measured_apart
from benchmarks.throughput import Case
from imagery.grid import SiteGrid
from pipelines import memory
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.memory import MemoryTooSmall, check_room, machine_bytes, site_bytes
from pipelines.products import ProductStore
from pipelines.runner import SerialRunner, ThreadRunner
from pipelines.site import SceneSet
from tests.pipelines.test_bad_input_batch import LOOKS, run, write_site

MIB = 2**20
# Of a bound at least so much is taken by the unit that takes most: a bound that is far too high refuses what would fit.
LEAST_OF_BOUND = 0.4


def grid_of(rows: int, cols: int) -> SiteGrid:
    return SiteGrid(32636, 500_000.0, 5_300_000.0, 0.5, rows, cols)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_no_unit_takes_more_than_its_bound_and_no_bound_is_far_too_high(case: Case, tmp_path: Path) -> None:
    said = measured_apart(case, tmp_path)
    assert said["idle"] <= memory.IDLE_BYTES
    assert {"make_chip", "make_look", "changes and report", "plant_look"} == set(said["taken"])
    over = {step: said["taken"][step] / said["bound"][step] for step in said["taken"]}
    assert max(over.values()) <= 1.0, over
    assert max(over.values()) >= LEAST_OF_BOUND, over


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 300), st.integers(0, 300))
def test_what_a_site_needs_grows_with_pixels_and_looks_and_is_no_less_than_any_of_its_units(
    rows: int, cols: int, fine: int, coarse: int
) -> None:
    grids = {False: grid_of(rows, cols), True: grid_of(1 + rows // 20, 1 + cols // 20)}
    kinds: Sequence[bool] = [False] * fine + [True] * coarse
    need = site_bytes(grids, grids, kinds)
    assert need <= site_bytes(grids, grids, [*kinds, False])
    assert need <= site_bytes({**grids, False: grid_of(rows + 1, cols)}, grids, kinds)
    assert need >= memory.IDLE_BYTES + max(memory.chip_bytes(grids[False]), memory.look_bytes(grids[False]))


def test_a_machine_has_memory_and_a_container_bounds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = machine_bytes()
    assert whole > 256 * MIB
    for text, expected in (("max\n", whole), (f"{100 * MIB}\n", int(100 * MIB * memory.SHARE_OF_MEMORY))):
        limit = tmp_path / "memory.max"
        limit.write_text(text)
        monkeypatch.setattr(memory, "CONTAINER_LIMITS", (*memory.CONTAINER_LIMITS, limit, tmp_path / "none"))
        assert machine_bytes() == expected


def test_a_unit_that_just_fits_is_not_refused() -> None:
    check_room("a site", 5 * MIB, 5 * MIB)
    with pytest.raises(
        MemoryTooSmall, match=r"a site needs about 2.0 GiB of memory at its peak and may use 1.0; give"
    ):
        check_room("a site", 2 * 2**30, 2**30)


def test_threads_refuse_a_unit_that_never_fits_and_begin_none() -> None:
    begun: list[int] = []
    with pytest.raises(MemoryTooSmall):
        ThreadRunner(4, memory_bytes=100).map(begun.append, [1, 2], lambda _count: None, unit_bytes=101)
    assert begun == []
    assert ThreadRunner(4, memory_bytes=100).map(str, [], lambda _count: None, unit_bytes=101) == []


def test_a_site_that_never_fits_is_refused_in_a_sentence_and_done_where_it_fits(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site")
    store = tmp_path / "store"
    with pytest.raises(MemoryTooSmall) as caught:
        run(site, tmp_path / "report", store=str(store), memory_bytes=memory.IDLE_BYTES)
    assert f"a with {LOOKS} looks of " in caught.value.detail
    assert "\n" not in caught.value.detail
    assert not (tmp_path / "report").exists()
    assert list(ProductStore(store).entries()) == []
    assert "report.json" in run(
        site, tmp_path / "report", store=str(store), memory_bytes=2 * memory.IDLE_BYTES
    )


def test_every_kind_of_unit_says_what_it_needs(tmp_path: Path) -> None:
    """A step that is handed to a runner without its bytes would be run as often at once as there are threads."""
    asked: dict[str, int] = {}

    class Noting(SerialRunner):
        def map(self, step, units, done, unit_bytes=0):  # type: ignore[no-untyped-def]
            if units:
                asked[step.__name__] = min(asked.get(step.__name__, unit_bytes), unit_bytes)
            return super().map(step, units, done, unit_bytes)

    from pipelines.planting import could_we_have_seen

    folder = write_site(tmp_path / "site")
    site = read_aoi(folder / "aoi.geojson")
    found = SceneSet(open_archive(str(folder / "catalog.json")).search(site.aoi).scenes)
    could_we_have_seen(site, found, store=str(tmp_path / "store"), runner=Noting(), each=1)
    assert set(asked) == {"make_chip", "make_look", "plant_look"}
    assert min(asked.values()) > 0
