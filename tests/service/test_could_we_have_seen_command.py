"""``depotwatch could-we-have-seen``: without a service, and for a site of one."""

import json
from pathlib import Path

import pytest

from service.archives import add_archive
from service.cli import main
from service.context import Service
from tests.service.support import client_of

SAMPLE = Path(__file__).parents[2] / "sample_tiles" / "depot-0.5m"
SHORT = ["--period", "2023-08-01/2023-11-30", "--each", "1", "--no-network", "--json"]


def test_without_a_service_a_catalog_and_an_aoi_are_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "recall.json"
    given = ["--catalog", str(SAMPLE / "catalog.json"), "--aoi", str(SAMPLE / "aoi.geojson")]
    assert main(["could-we-have-seen", *given, *SHORT, "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads(out.read_text())
    assert said["planted"] >= 4
    assert said["learned_detector"] is False
    assert [look["scene_id"][:17] for look in said["by_look"]] == [
        "rendered-22-20230",
        "rendered-22-20231",
        "rendered-22-20231",
    ]


def test_a_site_of_the_service_is_found_by_name_with_its_own_archives(
    lite_service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service = lite_service
    with service.database.write() as connection:
        add_archive(service.database, connection, "samples", "catalog", str(SAMPLE / "catalog.json"), None)
    feature = json.loads((SAMPLE / "aoi.geojson").read_text())
    feature["properties"] = {"name": "yard", "analyse": False, "archives": ["samples"]}
    assert client_of(service).post("/sites", json=feature).status_code == 201
    data = ["--data", str(service.settings.data)]
    assert main(["could-we-have-seen", "yard", *data, *SHORT]) == 0
    assert json.loads(capsys.readouterr().out)["site"] == "yard"
    assert main(["could-we-have-seen", "no such", *data]) == 2
    assert "not-found" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["nowhere/x.json", "."])
def test_a_place_that_takes_no_file_is_refused_before_the_run(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--catalog", "none/such", "--aoi", "none/such", "--out", str(tmp_path / out)]
    assert main(["could-we-have-seen", *given]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "cannot-write" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("given", [[], ["yard", "--catalog", "x"], ["--catalog", "x"]])
def test_what_to_test_must_be_said_once(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["could-we-have-seen", *given]) == 2
    assert "no-site-given" in capsys.readouterr().err
