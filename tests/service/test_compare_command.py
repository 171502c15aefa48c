"""``depotwatch compare``: two folders in, differences with reasons out."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import box, mapping

from benchmarks.service_fake import fake_feature
from service.analysis_unit import AnalyseUnit
from service.cli import main

AOI = box(30.0, 0.0, 30.01, 0.01)


def folder(place: Path, *features: dict[str, Any], **report: Any) -> str:
    """A report's two files that are compared."""
    place.mkdir()
    whole = {"processing_version": "v1", "site": {"name": "yard", "aoi": mapping(AOI)}, **report}
    (place / "report.json").write_text(json.dumps(whole))
    (place / "changes.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(place)


def some(count: int, **parameters: float) -> list[dict[str, Any]]:
    unit = AnalyseUnit("s", "yard", AOI, (), None, dict(parameters))
    return [fake_feature(unit, number) for number in range(count)]


def test_differences_are_printed_with_their_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = folder(tmp_path / "one", *some(4), parameters={"min_confidence": "None"})
    other = folder(tmp_path / "two", *some(3), parameters={"min_confidence": "0.99"})
    assert main(["compare", one, other]) == 0
    told = capsys.readouterr().out
    assert "1 lost; 3 changes told alike" in told
    assert "- The parameter min_confidence, of the step detection, was the default and is 0.99." in told
    assert f"lost: {some(4)[3]['id']}" in told
    assert "lies below the least to be reported, which is 0.99." in told


def test_json_and_the_three_files_tell_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = folder(tmp_path / "one", *some(2)), folder(tmp_path / "two", *some(5))
    assert main(["compare", one, other, "--json", "--out", str(tmp_path / "out" / "new")]) == 0
    found = json.loads(capsys.readouterr().out)
    out = tmp_path / "out" / "new"
    assert sorted(path.name for path in out.iterdir()) == [f"comparison.{e}" for e in ("csv", "html", "json")]
    assert json.loads((out / "comparison.json").read_text()) == found
    rows = csv.DictReader((out / "comparison.csv").read_text().splitlines())
    assert found["totals"]["new"] == 3
    assert [row["kind"] for row in rows] == ["report", "new", "new", "new"]
    assert found["sites"][0]["before"]["report"] == "one"


def test_what_is_no_report_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = folder(tmp_path / "one", *some(2))
    assert main(["compare", one, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("depotwatch compare: not-a-report:")
    far = {"name": "far", "aoi": mapping(box(9, 9, 9.1, 9.1))}
    assert main(["compare", one, folder(tmp_path / "far", site=far)]) == 2
    assert "other-site" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["compare", one, one, "--out", str(tmp_path / "file")]) == 2
    assert "cannot-write" in capsys.readouterr().err
