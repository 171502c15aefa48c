"""Commands against a running service, as a user types them, and what becomes of keys and waits on the way."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from service.cli import main
from service.client import Client
from tests.service.support import LiveService, environment_of, feature, live_service, make_settings, square

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("live-service")]
COMMAND = [sys.executable, "-m", "tests.service.run"]


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveService]:
    with live_service(make_settings(tmp_path / "data")) as running:
        monkeypatch.setenv("DEPOTWATCH_KEY", running.key)
        yield running


def test_sites_go_in_and_reports_come_out_by_command(
    live: LiveService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ["--url", live.address]
    outline, table = tmp_path / "yard.geojson", tmp_path / "more.csv"
    outline.write_text(json.dumps(square()))
    table.write_text("name;lat;lon;radius_m\nNorth;50,2;30,2;200\nSouth;50,1;30,1;200\n")
    assert main(["site", "add", str(outline), "--wait", *url]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("site-")
    assert "successful" in said.err
    assert main(["site", "add", str(table), "--no-analyse", *url]) == 0
    assert len(capsys.readouterr().out.split()) == 2
    assert main(["site", "list", *url]) == 0
    assert {line.split()[-1] for line in capsys.readouterr().out.splitlines()} == {"yard", "North", "South"}

    page, changes, bundle = (tmp_path / name for name in ("r.html", "c.csv", "b.zip"))
    files = ["--html", str(page), "--changes", str(changes), "--bundle", str(bundle)]
    assert main(["report", "yard", *files, *url]) == 0
    assert "yard, report 1" in capsys.readouterr().out
    assert page.read_bytes().startswith(b"<!")
    assert changes.read_text("utf-8-sig").startswith("id,")
    assert bundle.read_bytes().startswith(b"PK")
    assert main(["report", "yard", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out)["schema"].startswith("depotwatch-report/")
    kept = sorted(tmp_path.iterdir())
    for place in (tmp_path / "none" / "r.html", tmp_path):
        assert main(["report", "yard", "--html", str(place), *url]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"depotwatch report: cannot-write: {place} cannot be written")
    assert sorted(tmp_path.iterdir()) == kept


def test_what_goes_wrong_is_one_line_with_its_code(
    live: LiveService, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = tmp_path / "swapped.geojson"
    ring = [[40, 149], [40.01, 149], [40.01, 149.01], [40, 149]]
    swapped.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    url = ["--url", live.address]
    for command, code in (
        (["site", "add", str(swapped), *url], "aoi-out-of-range"),
        (["report", "nowhere", *url], "not-found"),
        (["report", "yard", "--changes", str(tmp_path / "c.shp"), *url], "unknown-export-format"),
    ):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert code in said.err
    monkeypatch.setenv("DEPOTWATCH_KEY", "dw_wrong_key")
    assert main(["site", "list", *url]) == 2
    said = capsys.readouterr()
    assert "unauthorised" in said.err
    assert "dw_wrong_key" not in said.err


def test_a_wait_outlives_the_service_it_waits_for(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    with live_service(settings, workers=0) as first, Client(first.address, first.key) as client:
        job = client.add_site("yard", square()).job
        assert job is not None
        ended: list[Mapping[str, Any]] = []
        waiting = threading.Thread(target=lambda: ended.append(client.wait(job, timeout_s=90)))
        waiting.start()
        first.process.kill()
        first.process.wait()
        waiting.join(2)
        assert waiting.is_alive()
        port = str(urlsplit(first.address).port)
        again = subprocess.Popen(
            [*COMMAND, "serve", "--port", port, "--workers", "0"],
            env=environment_of(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.service_fake"],
            env=environment_of(settings), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            waiting.join(90)
            assert [one["state"] for one in ended] == ["successful"]
        finally:
            for process in (again, worker):
                process.send_signal(signal.SIGTERM)
                process.wait(20)


def test_no_key_reaches_the_log_however_it_was_sent(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data", log_level="DEBUG")
    with live_service(settings, workers=0) as once:
        key = once.key
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--workers", "0"],
            env=environment_of(settings), stdout=subprocess.PIPE, stderr=sink, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        bearer = {"Authorization": f"Bearer {key}"}
        wrong = key[:-4] + "beef"
        with httpx.Client(base_url=address, timeout=20) as http:
            statuses = [
                http.get("/sites", headers=bearer).status_code,
                http.get("/sites", headers={"Authorization": f"Bearer {wrong}"}).status_code,
                http.get("/sites", headers={"Authorization": f"Basic {key}"}).status_code,
                http.get("/sites", headers={"X-API-Key": key, "X-Request-ID": key}).status_code,
                http.get(f"/sites?key={key}").status_code,
                http.get(f"/sites/{key}", headers=bearer).status_code,
                http.post("/sites", headers=bearer, json=feature("a", note=key)).status_code,
            ]
        process.terminate()
        process.wait(20)
        process.stdout.close()
    assert statuses == [200, 401, 401, 401, 401, 404, 201]
    said = log.read_text("utf-8")
    assert said.count("request") >= len(statuses)
    for one in (key, wrong):
        assert one not in said
        assert one[-16:] not in said
