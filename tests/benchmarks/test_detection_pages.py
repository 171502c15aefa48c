"""The pages say what the files say, and the runs they come from work on a small site."""

import argparse
import json

import pytest

from benchmarks import detection, detection_docs, real_pairs, scoring, throughput
from benchmarks.second_renderer import render

NUMBER = {"value": 0.5, "low": 0.25, "high": 0.75}


def test_a_number_is_shown_with_its_interval_and_a_missing_one_as_a_dash():
    assert detection_docs.shown(NUMBER) == "0.50 (0.25-0.75)"
    assert detection_docs.shown({"value": 3.0, "low": None, "high": None}, 0) == "3"
    assert detection_docs.shown({"value": None}) == "-"


def test_loss_between_renderers_is_ours_minus_theirs():
    cell = "container.appeared.iou0.3.f1"
    sets = {
        "pair_0.5m": {"numbers": {cell: {"value": 0.8}}},
        "second_pair_0.5m": {"numbers": {cell: {"value": 0.7}}},
    }
    assert "| 0.80 | 0.70 | +0.10 |" in detection_docs.drop_lines(sets)


def test_what_geometry_finds_alone_stands_beside_what_both_find():
    def found(f1: float, wrong: float) -> dict:
        cells = {f"{cell}.iou0.3.f1": {"value": f1} for cell in detection_docs.CELLS}
        counts = {f"{cell}.iou0.3.truths": {"value": 9.0} for cell in detection_docs.CELLS}
        return {"numbers": cells | counts | {"false_alarms.all.per_km2_look": {"value": wrong}}}

    table = detection_docs.parts_table({"a": found(0.8, 1.5)}, {"a": found(0.2, 30.0), "never run whole": {}})
    both, alone = table.splitlines()[2:]
    assert "network and geometry" in both
    assert "0.80" in both
    assert "1.5 |" in both
    assert "geometry alone" in alone
    assert "0.20" in alone
    assert "30.0 |" in alone


def test_results_of_sets_not_run_now_are_kept_and_not_a_number_becomes_null(tmp_path):
    path = tmp_path / "results" / "detection.json"
    detection.write_results({"a": {"x": 1.0}}, path, network=False)
    detection.write_results({"b": {"x": float("nan")}}, path, network=False)
    assert json.loads(path.read_text())["sets"] == {"a": {"x": 1.0}, "b": {"x": None}}


def test_runs_of_different_sets_side_by_side_become_one_file(tmp_path):
    for name in ("a", "b"):
        detection.write_results({name: {"x": name}}, tmp_path / f"{name}.json", network=True)
    out = tmp_path / "all.json"
    detection.write_results({"b": {"x": "old"}, "c": {"x": "kept"}}, out, network=True)
    assert (
        detection.main(["--merge", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(out)])
        == 0
    )
    assert json.loads(out.read_text())["sets"] == {"a": {"x": "a"}, "b": {"x": "b"}, "c": {"x": "kept"}}


def numbers(**values: float) -> dict:
    return {"numbers": {name.replace("__", "."): {"value": value} for name, value in values.items()}}


def test_precision_at_prevalence_by_hand():
    sets = {
        "quiet_10m": numbers(false_alarms__confirmed__share_of_area=2e-4, km2=3.0, km2_looks=50.0),
        "quiet_wide": numbers(false_alarms__confirmed__share_of_area=0.0, km2=1.0, km2_looks=50.0),
        "series_10m": {
            "numbers": {
                "other.appeared.iou0.3.truths": {"value": 10.0},
                "other.appeared.confirmed.recall": {"value": 0.6},
                "other.removed.iou0.3.truths": {"value": 30.0},
                "other.removed.confirmed.recall": {"value": 0.2},
            }
        },
    }
    found = detection_docs.precision_at_prevalence(
        sets, ("quiet_10m", "quiet_wide", "not_run"), ("series_10m",), detection_docs.CELLS
    )
    recall, false = 12 / 40, 1.5e-4
    assert found == pytest.approx((recall, false, recall * 1e-3 / (recall * 1e-3 + false * 0.999)))
    assert "| 10 m, our renderer | 50 | 0.30 | 2.0e-04 | 0.60 |" in detection_docs.prevalence_table(sets)


def test_lags_are_told_with_the_changes_they_are_of():
    lag = {"median": 1.0, "low": 1.0, "high": 2.0, "by_looks": {"1": 9, "2": 4}}
    said = {"sites": 12, "changes": 134, "found": 62, "sure": 13, "confirmed_and_lost": 0}
    lags = {"series_0.5m": {**said, "dated": lag, "listed": lag, "confirmed": lag}}
    assert "| 13 | 1.0 (1.0-2.0) | 1: 9, 2: 4 | 0 |" in detection_docs.lag_table(lags)
    gates = detection_docs.gates_table({}, lags)
    assert "| 3 / 2 / 2 | 1.0 (1.0-2.0) of 13; 10 m: - | - |" in gates
    assert "| 1 / 1 / 0 | 1.0 (1.0-2.0) of 62; 10 m: - | - |" in gates


def test_what_is_not_identified_is_summed_over_sets_of_one_pixel_size():
    listed = [{"from_m2": 25.0, "n": 10, "other": 1, "any": 2}]
    claims = {"claims": 3, "other things": 2, "our classes": 1, "nothing": 0}
    one = {"sites": 4, "gsd_m": 0.5, "claims": claims, "listed": listed}
    tables = detection_docs.unidentified_tables({"a": one, "b": one})
    assert "| together | 8 | 6 | 4 | 2 | 0 |" in tables
    assert "| 0.5 | 25 | 20 | 2 (10 %) | 4 (20 %) |" in tables
    quiet = one | {"confirmed": {"claims": 4, "as told": 2, "misnamed": 1, "nothing": 1}}
    assert "| q | 4 | 4 | 2 | 1 | 1 |" in detection_docs.confirmed_table({"a": one, "q": quiet})


def test_the_page_on_real_pairs_holds_the_numbers_of_its_results():
    page = real_pairs.PAGE.read_text()
    pairs = json.loads(real_pairs.RESULTS.read_text())["pairs"]
    assert real_pairs.with_table(page, pairs) == page
    assert all(name in page for name in pairs)


def test_errors_of_confidence_are_pooled_over_sets_before_they_are_made_absolute():
    sets = {
        "series_0.5m": {"reliability": [{"n": 10, "said": 0.85, "true": 0.95}]},
        "series_1m": {"reliability": [{"n": 10, "said": 0.85, "true": 0.65}]},
        "real_pairs": {"reliability": [{"n": 99, "said": 0.85, "true": 0.0}]},
    }
    assert detection_docs._error(sets, lambda name: True) == "0.05 of 20"
    assert "| 0.6-2 m | ours | 10 | 0.85 | 0.65 |" in detection_docs.calibration_by_pixel(sets)


def test_every_set_has_a_pixel_size_in_its_name_and_a_seed_range_of_its_own():
    assert all(0.2 < detection_docs.pixel_size(test.name) < 20 for test in detection.SETS)
    assert len({test.name for test in detection.SETS}) == len(detection.SETS)
    assert max(test.sites for test in detection.SETS) < 1000


@pytest.mark.long
def test_a_painted_site_goes_through_analysis_scorer_peers_and_page(tmp_path):
    test = detection.TestSet(
        "second_pair_0.5m",
        "rendered",
        lambda out, seed: render(out, seed=seed, looks=2, gsd_m=1.0, side_m=220.0, cloudy=0.0),
        1,
        "two dates",
        peers=True,
    )
    outcome = detection.run_set(test, 1, tmp_path, network=False)
    assert outcome.failures == []
    assert set(outcome.peer_scores) == {"cva", "irmad", "ssim"}
    found = {"sets": {test.name: detection.as_json(test, outcome)}, "run": {"network": False}}
    path = tmp_path / "d.json"
    detection.write_results(found["sets"], path, network=False)
    page = detection_docs.detection_page(json.loads(path.read_text()))
    assert "| second_pair_0.5m | cva |" in page


def test_the_floor_reads_every_pixel_and_its_cost_is_told(tmp_path):
    case = throughput.Case("tiny", 128, 1.0, 2, "tiny")
    throughput.write_scenes(tmp_path / "tiny", case)
    said = throughput.measure_floor(argparse.Namespace(catalog=tmp_path / "tiny" / "catalog.json"))
    assert said["check"] > 0
    assert said["peak_mib"] > 10
    links = json.loads((tmp_path / "tiny" / "catalog-but-one.json").read_text())["links"]
    assert sum(link["rel"] == "item" for link in links) == 1


def test_real_false_alarms_are_counted_per_km2_for_our_classes_only():
    places = []
    for area, claims in (
        (2.0, {"container": 3, "berm": 0, "other": 9}),
        (1.0, {"container": 0, "berm": 0, "other": 1}),
    ):
        score = scoring.SiteScore("a", area, 2.0, 1.0)
        score.claimed = {"confirmed": claims}
        places.append(score)
    rate = detection.named_false_alarms(places, "confirmed")
    assert rate["value"] == 1.0
    assert rate["low"] <= rate["value"] <= rate["high"]
