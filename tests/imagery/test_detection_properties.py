"""What must hold of every answer, whatever is looked at: from scenes through the detector to the verdict."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from imagery.changes import Change, Direction, LookEvidence
from imagery.detection import DetectionOptions, find_changes, look_evidence
from imagery.evidence.network import PresenceNetwork
from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.planting import FINE_PATTERNS, Planting, plant, tone_of
from imagery.simulation import Sensor, SeriesOptions, simulate_series
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.parameters import Parameters
from pipelines.report.html_page import headline
from pipelines.report.summary import Verdict, verdict
from pipelines.report.timeline import timeline
from pipelines.runner import open_runner
from pipelines.simulate import write_series
from pipelines.site import SceneSet, analyse_scenes

OPTIONS = SeriesOptions(
    extent_m=110.0,
    sensor=Sensor(0.5),
    looks=6,
    kind="quiet",
    density=0.0,
    clouds=0.0,
    snow=0.0,
    geolocation_m=0.1,
    start=datetime(2024, 6, 1, tzinfo=UTC),
    end=datetime(2024, 8, 30, tzinfo=UTC),
)
ANY = DetectionOptions(min_confidence=0.3)
SWAPPED = {Direction.APPEARED: Direction.REMOVED, Direction.REMOVED: Direction.APPEARED}


@pytest.fixture(scope="module")
def looks() -> tuple[Look, ...]:
    """Six looks at one rendered place in which two objects stand from the fourth look on."""
    rendered = simulate_series(31, OPTIONS).looks
    side = len(rendered[0].mask)
    grid = SiteGrid(32633, 5e5, 5.5e6, 0.5, side, side)
    plain = [
        Look(
            f"S{r.number}",
            r.t_utc,
            grid,
            r.bands,
            r.image.astype(np.float32) / np.float32(1e4),
            np.zeros(grid.shape, np.uint8),
            0.5,
            r.sun,
            r.view,
        )
        for r in rendered
    ]
    since = plain[2].t_utc + (plain[3].t_utc - plain[2].t_utc) / 2
    middle_east, middle_north = 5e5 + 55.0, 5.5e6 - 55.0
    things = (
        Planting(0, FINE_PATTERNS[2], middle_east - 25, middle_north + 22, 20.0, 5, since),
        Planting(1, FINE_PATTERNS[5], middle_east + 10, middle_north - 20, 70.0, 6, since),
    )
    return tuple(plant(look, things, tone_of(look, (), calibrated=True)) for look in plain)


@pytest.fixture(scope="module")
def network() -> PresenceNetwork:
    return PresenceNetwork.load()


@pytest.fixture(scope="module")
def evidence(looks: Sequence[Look], network: PresenceNetwork) -> list[LookEvidence]:
    return [look_evidence(look, registration_residual_m=0.05, network=network) for look in looks]


def everywhere(evidence: Sequence[LookEvidence]) -> np.ndarray:
    return np.ones(evidence[0].grid.shape, bool)


def told(changes: Sequence[Change]) -> list[tuple[str, str, int, int, str, str]]:
    return sorted(
        (
            str(c.object_class),
            str(c.direction),
            round(c.footprint.centroid.x / 2),
            round(c.footprint.centroid.y / 2),
            c.before_scene,
            c.after_scene,
        )
        for c in changes
    )


def test_the_planted_objects_are_found_at_all(evidence: list[LookEvidence]) -> None:
    found = find_changes(evidence, everywhere(evidence), ANY).changes
    assert any(c.after_scene == "S3" and c.direction is Direction.APPEARED for c in found)


def test_what_appeared_is_removed_when_time_runs_backwards(evidence: list[LookEvidence]) -> None:
    last = evidence[-1].t_utc
    backwards = [replace(e, t_utc=evidence[0].t_utc + (last - e.t_utc)) for e in evidence]
    forward = find_changes(evidence, everywhere(evidence), ANY).changes
    mirrored = [
        replace(c, direction=SWAPPED[c.direction], before_scene=c.after_scene, after_scene=c.before_scene)
        for c in find_changes(backwards, everywhere(evidence), ANY).changes
    ]
    # How many looks saw a change since it happened counts for it, and that many differ by the arrow of time.
    for some, others in ((forward, mirrored), (mirrored, forward)):
        likely = told([change for change in some if change.confidence >= 0.5])
        assert likely
        assert set(likely) <= set(told(others))


@pytest.mark.parametrize("order", [(5, 4, 3, 2, 1, 0), (3, 0, 5, 1, 4, 2)])
def test_scenes_may_come_in_any_order(evidence: list[LookEvidence], order: tuple[int, ...]) -> None:
    mixed = [evidence[i] for i in order]
    assert find_changes(mixed, everywhere(evidence), ANY) == find_changes(evidence, everywhere(evidence), ANY)


@pytest.mark.parametrize("offset", [0.125, -0.0625])
def test_an_offset_of_all_bands_of_some_looks_changes_no_answer(
    looks: Sequence[Look], evidence: list[LookEvidence], network: PresenceNetwork, offset: float
) -> None:
    moved = [
        look_evidence(
            replace(look, reflectance=look.reflectance + np.float32(offset * (k % 2))),
            registration_residual_m=0.05,
            network=network,
        )
        for k, look in enumerate(looks)
    ]
    plain = find_changes(evidence, everywhere(evidence), ANY).changes
    shifted = find_changes(moved, everywhere(evidence), ANY).changes
    assert told(shifted) == told(plain)
    assert [c.confidence for c in shifted] == pytest.approx([c.confidence for c in plain], abs=0.05)


def test_no_onset_interval_is_narrower_than_the_gap_between_two_looks_that_saw_the_place(
    evidence: list[LookEvidence],
) -> None:
    times = sorted(e.t_utc for e in evidence)
    found = find_changes(evidence, everywhere(evidence), ANY).changes
    assert found
    for change in found:
        assert change.onset.start in times
        assert change.onset.end in times
        assert change.onset.start < change.onset.end


Hidden = Callable[[int], SimpleNamespace]


@pytest.fixture(scope="module")
def site_hidden_from(tmp_path_factory: pytest.TempPathFactory) -> Hidden:
    """Analyse a rendered site of four looks under full cloud from one look on; a container yard changes in it."""
    folder = tmp_path_factory.mktemp("hidden")
    options = replace(OPTIONS, extent_m=96.0, looks=4, kind="depot", density=2.0)
    write_series(12, options, folder / "site", "test")
    scenes = open_archive(str(folder / "site" / "catalog.json")).search().scenes
    names = [scene.id for scene in sorted(scenes, key=lambda s: s.t_utc)]
    masks = {name: folder / "site" / f"{name}-mask.tif" for name in names}
    clear = {name: path.read_bytes() for name, path in masks.items()}

    def analyse(first: int, last: int = 0) -> SimpleNamespace:
        for k, name in enumerate(names):
            masks[name].write_bytes(clear[name])
            if k >= first:
                with rasterio.open(masks[name]) as mask:
                    shape, kept = mask.shape, {"crs": mask.crs, "transform": mask.transform}
                kept |= {"height": shape[0], "width": shape[1], "count": 1, "dtype": "uint8"}
                with rasterio.open(masks[name], "w", driver="GTiff", **kept) as mask:
                    mask.write(np.ones(shape, np.uint8), 1)
        chosen = tuple(open_archive(str(folder / "site" / "catalog.json")).search().scenes)
        if last:
            chosen = tuple(scene for scene in chosen if names.index(scene.id) >= last)
        with open_runner(1, None) as runner:
            finished = analyse_scenes(
                read_aoi(folder / "site" / "aoi.geojson"),
                SceneSet(chosen),
                store=str(folder / f"store{first}"),
                runner=runner,
                parameters=Parameters(),
            )
        return SimpleNamespace(analysis=finished.analysis, names=names)

    return analyse


@pytest.mark.parametrize("first", [1, 2, 3])
def test_nothing_is_said_of_looks_that_were_hidden(site_hidden_from: Hidden, first: int) -> None:
    made = site_hidden_from(first)
    hidden = set(made.names[first:])
    assert not any(
        c.after_scene in hidden or c.before_scene in hidden for c in made.analysis.detection.changes
    )
    rows = [p for p in timeline(made.analysis) if p.look.scene.id in hidden]
    assert rows
    assert all(p.standing is None and p.reason for p in rows)
    if first == 1:
        assert verdict(made.analysis) is Verdict.NOTHING_TO_COMPARE
    else:
        assert "nothing is claimed about" in headline(made.analysis)


def test_a_time_of_which_every_look_was_hidden_is_not_observable_and_never_no_change(
    site_hidden_from: Hidden,
) -> None:
    made = site_hidden_from(2, 2)
    assert verdict(made.analysis) is Verdict.NOT_OBSERVABLE
    assert "No change" not in headline(made.analysis)
    assert "could not be seen" in headline(made.analysis)
