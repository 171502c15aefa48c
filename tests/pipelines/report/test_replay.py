"""A report says enough to be made again, and replaying it on its own scenes gives it again."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.parameters import Parameters
from pipelines.replay import NotReplayable, parameters_of, period_of, replay, site_of
from pipelines.report.bundle import write_bundle
from pipelines.report.canonical import json_bytes
from pipelines.report.features import look_features
from pipelines.report.report_json import report_json
from service.cli import main


def told(analysis: Any) -> dict[str, Any]:
    return dict(json.loads(json_bytes(report_json(analysis, look_features(analysis), [], "headline"))))


def test_the_site_comes_back_at_full_precision(site: Any) -> None:
    back = site_of(told(site.analysis))
    assert back.name == site.analysis.site.name
    assert back.aoi.wkb == site.analysis.site.aoi.wkb


def test_a_period_that_was_not_asked_for_is_not_asked_for_again(site: Any) -> None:
    period = (datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 6, 30, 23, 59, 59, 999999, tzinfo=UTC))
    assert period_of(told(site.analysis)) is None
    assert period_of(told(replace(site.analysis, period=period))) == period


@pytest.mark.parametrize(
    "parameters",
    [Parameters(), Parameters(gsd_m=0.75, min_confidence=0.1, max_false_alarms=2.5, network=False)],
)
def test_parameters_come_back(parameters: Parameters, site: Any) -> None:
    assert parameters_of(told(replace(site.analysis, parameters=parameters.as_pairs()))) == parameters


def test_a_report_that_does_not_say_how_it_was_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReplayable):
        replay({"site": {"name": "x"}}, tmp_path, tmp_path / "out")


@pytest.mark.long
def test_a_bundle_of_rendered_scenes_replays_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = tmp_path / "scenes"
    small = ["--kind", "pair", "--extent-m", "120", "--gsd", "1", "--seed", "3"]
    assert main(["simulate", "--out", str(scenes), *small]) == 0
    arguments = [
        "--catalog",
        str(scenes / "catalog.json"),
        "--aoi",
        str(scenes / "aoi.geojson"),
        "--no-network",
    ]
    assert main(["analyse", *arguments, "--out", str(tmp_path / "report")]) == 0
    write_bundle(tmp_path / "report", tmp_path / "x.zip")
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "x.zip"), "--catalog", str(scenes / "catalog.json"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["replay"]["state"] == "identical"
    assert result["sources"]["found"] == result["sources"]["recorded"] > 0
