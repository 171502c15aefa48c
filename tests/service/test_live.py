"""The service as users meet it: a process on a port, real clients, signals, hostile bodies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from owslib.ogcapi.features import Features

from service.archives import add_archive
from service.client import Client
from service.context import open_service
from service.keys import create_key, pepper
from service.settings import Settings
from service.tenancy import ensure_tenant
from tests.service.support import (
    LiveService,
    environment_of,
    feature,
    live_service,
    make_settings,
    square,
)

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("live-service")]
COMMAND = [sys.executable, "-m", "tests.service.run"]
SITES = 25


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(
        tmp_path_factory.mktemp("live") / "data",
        rate_per_s=10_000.0,
        rate_burst=100_000.0,
        body_timeout_s=1.0,
        max_body_bytes=2**20,  # so small that it arrives within the second on a busy machine too
    )


@pytest.fixture(scope="module")
def live(settings: Settings) -> Iterator[LiveService]:
    """A service with some analysed sites."""
    with live_service(settings) as running:
        with Client(running.address, running.key) as client:
            many = {
                "type": "FeatureCollection",
                "features": [feature(f"site {i}", geometry=square(10 + i / 10)) for i in range(SITES)],
            }
            made = client.request("POST", "/sites", json=many).json()
            assert client.wait(made["job"], timeout_s=60)["state"] == "successful"
        yield running


@pytest.fixture
def http(live: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=live.address, headers={"Authorization": f"Bearer {live.key}"}, timeout=20
    ) as client:
        yield client


def test_gdal_reads_the_collections_through_paging_and_boxes(live: LiveService) -> None:
    code = """
import json, sys
import pyogrio
# The OAPIF driver sends headers of its own in place of GDAL_HTTP_HEADERS; the bearer option it honours.
options = {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": sys.argv[2], "GDAL_HTTP_TIMEOUT": "20"}
pyogrio.set_gdal_config_options(options)
source = "OAPIF:" + sys.argv[1]
layers = sorted(name for name, _ in pyogrio.list_layers(source))
whole = {n: len(pyogrio.read_dataframe(source, layer=n, PAGE_SIZE="10")) for n in layers}
boxed = len(pyogrio.read_dataframe(source, layer="sites", bbox=(10.05, 49, 10.65, 51)))
print(json.dumps([layers, whole, boxed]))
"""
    found = subprocess.run(
        [sys.executable, "-c", code, live.address, live.key],
        capture_output=True,
        timeout=60,
        text=True,
        check=True,
    )
    layers, whole, boxed = json.loads(found.stdout)
    assert layers == ["changes", "looks", "sites"]
    assert whole == {"sites": SITES, "changes": 3 * SITES, "looks": 3 * SITES}
    assert boxed == 6


def test_owslib_reads_the_collections(live: LiveService) -> None:
    service = Features(live.address, headers={"Authorization": f"Bearer {live.key}"})
    assert sorted(service.feature_collections()) == ["changes", "looks", "sites"]
    assert any("ogcapi-features-1" in c for c in service.conformance()["conformsTo"])
    found = service.collection_items("sites", limit=7)
    assert found["numberReturned"] == 7
    assert found["numberMatched"] == SITES
    one = service.collection_item("sites", found["features"][0]["id"])
    assert one["properties"]["name"].startswith("site")


def test_events_arrive_while_the_job_runs(live: LiveService, http: httpx.Client) -> None:
    job = http.post("/jobs", json={"sites": "all", "parameters": {"min_confidence": 0.5}}).json()["id"]
    states = []
    with http.stream("GET", f"/jobs/{job}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                states.append(json.loads(line[5:]))
    assert states[-1]["state"] == "successful"
    assert len(states) > 1
    done = [s["units"]["done"] for s in states]
    assert done == sorted(done)


def raw(address: str, data: bytes, *, wait_s: float = 5.0) -> bytes:
    """Send bytes as they are, read what comes."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=wait_s) as connection:
        connection.sendall(data)
        said = b""
        try:
            while part := connection.recv(65_536):
                said += part
        except TimeoutError:
            pass
        return said


def test_a_body_that_never_comes_is_given_up(live: LiveService) -> None:
    head = (
        f"POST /sites HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {live.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{"
    )
    said = raw(live.address, head.encode())
    assert b" 408 " in said.split(b"\r\n")[0]
    assert b'"code":"too-slow"' in said


def test_a_scene_that_stops_arriving_is_given_up(
    live: LiveService, settings: Settings, tmp_path: Path
) -> None:
    service = open_service(settings)
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, "first")
        add_archive(service.database, connection, "stalled", "folder", str(tmp_path), tenant)
    service.close()
    head = (
        f"POST /archives/stalled/scenes HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {live.key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n--b\r\n"
    )
    said = raw(live.address, head.encode())
    assert b" 408 " in said.split(b"\r\n")[0]
    assert b'"code":"too-slow"' in said


def test_a_head_that_never_comes_is_given_up(live: LiveService) -> None:
    begun = time.monotonic()
    assert raw(live.address, b"GET /sites HTTP/1.1\r\nHost: 127.0.0.1\r\n", wait_s=20) == b""
    assert time.monotonic() - begun < 15


def test_a_body_without_end_is_cut_off(live: LiveService, settings: Settings) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(settings.max_body_bytes // 65_536 + 50):
            yield b" " * 65_536

    answer = httpx.post(
        f"{live.address}/sites",
        content=endless(),
        headers={"Authorization": f"Bearer {live.key}", "Content-Type": "application/json"},
        timeout=30,
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize(
    "path",
    [
        "/sites/../../etc/passwd",
        "/sites/%2e%2e/%2e%2e/etc/passwd",
        "/sites/{site}/reports/latest/files/../../../../../etc/passwd",
        "/sites/{site}/reports/latest/files/%2e%2e/%2e%2e/secret",
        "/sites/{site}/reports/latest/files//etc/passwd",
        "/sites/{site}/reports/latest/files/%00",
        "/archives/..%2f..%2fx/scenes",
    ],
)
def test_no_path_leads_outside(live: LiveService, http: httpx.Client, path: str) -> None:
    site = http.get("/sites").json()["features"][0]["id"]
    request = (
        f"GET {path.replace('{site}', site)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {live.key}\r\nConnection: close\r\n\r\n"
    )
    said = raw(live.address, request.encode())
    assert said.split(b" ")[1] in {b"404", b"405"}, said[:200]
    assert b"root:" not in said


def test_nothing_of_an_error_reaches_the_log_or_answer_but_its_code(
    live: LiveService, http: httpx.Client
) -> None:
    assert "x-request-id" in http.get("/nowhere").headers
    assert http.get("/nowhere").headers.get("server") is None


def test_without_keys_the_network_is_refused(tmp_path: Path) -> None:
    refused = subprocess.run(
        [*COMMAND, "serve", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "d")],
        capture_output=True, timeout=60, text=True, check=False, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert refused.returncode == 2
    assert "keys create" in refused.stderr


def test_keys_create_prints_the_key_and_nothing_else(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path / "d")]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    made = subprocess.run(
        [*COMMAND, "keys", "create", "--tenant", "T", "--scopes", "sites:read,admin", *options],
        capture_output=True, timeout=60, text=True, check=True, env=environment,
    )  # fmt: skip
    assert made.stdout.startswith("dw_")
    assert len(made.stdout.split()) == 1
    assert made.stderr == ""
    listed = subprocess.run(
        [*COMMAND, "keys", "list", *options],
        capture_output=True,
        timeout=60,
        text=True,
        check=True,
        env=environment,
    )
    assert "sites:read,admin" in listed.stdout
    assert made.stdout.strip() not in listed.stdout


def test_an_open_loopback_service_answers_to_its_own_name_only(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--workers", "0"],
        env=environment_of(settings), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert httpx.get(f"{address}/sites").status_code == 200
        assert httpx.get(f"{address}/sites", headers={"Host": "evil.example"}).status_code == 403
        assert httpx.get(f"{address}/sites", headers={"Origin": "http://evil.example"}).status_code == 403
        assert httpx.get(f"{address}/sites", headers={"Origin": address}).status_code == 200
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def test_sigterm_finishes_the_unit_in_hand_or_gives_it_back(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data", drain_s=10.0, lease_s=30.0)
    with live_service(settings, workers=0) as running, Client(running.address, running.key) as client:
        job = client.add_site("a", square()).job
        assert job is not None
        environment = {**environment_of(settings), "FAKE_SECONDS": "2"}
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.service_fake"], env=environment, stderr=subprocess.DEVNULL
        )
        while client.job(job)["state"] != "running":
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        assert client.job(job)["state"] == "successful", "the unit was finished within the drain"

        second = client.submit("all", min_confidence=0.5)
        hasty = {**environment, "DEPOTWATCH_DRAIN_S": "0", "FAKE_SECONDS": "3"}
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.service_fake"], env=hasty, stderr=subprocess.DEVNULL
        )
        while client.job(second)["state"] != "running":
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        lines = client.request("GET", f"/jobs/{second}/logs").json()["lines"]
        assert [line["code"] for line in lines] == ["drained"]


def test_serve_starts_a_dead_worker_again_and_takes_its_workers_with_it(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--workers", "1"],
        env=environment_of(settings), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    first = children(process.pid)
    assert len(first) == 1
    os.kill(first[0], signal.SIGKILL)
    until = time.monotonic() + 20
    while not (second := [p for p in children(process.pid) if p not in first]) and time.monotonic() < until:
        time.sleep(0.1)
    assert len(second) == 1
    time.sleep(2)
    process.kill()
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 20
    while alive(second[0]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(second[0]), "a worker must not outlive the process it belongs to"


def children(pid: int) -> list[int]:
    lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for found in lists for child in found]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_idle_key_of_another_tenant_reads_nothing(settings: Settings, live: LiveService) -> None:
    from service.context import open_service

    service = open_service(settings)
    key = create_key(service.database, pepper(settings), "second", ["admin"], burst=1_000.0)
    service.close()
    answer = httpx.get(
        f"{live.address}/collections/changes/items", headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.json()["numberMatched"] == 0


def test_the_four_lines_of_a_first_day_work_as_printed(live: LiveService, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("curl ")]
    assert len(lines) == 4
    (tmp_path / "aoi.geojson").write_text(json.dumps(feature("first day", geometry=square(-3.0))))
    variables = {"URL": live.address, "DEPOTWATCH_KEY": live.key, "SITE": "", "CURSOR": ""}

    def run(line: str) -> dict[str, Any]:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env={**os.environ, **variables},
            capture_output=True, timeout=30, text=True, check=True,
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    site = run(lines[0])
    variables["SITE"] = site["id"]
    assert run(lines[1])["jobs"][0]["id"] == site["job"]
    with Client(live.address, live.key) as client:
        client.wait(site["job"], timeout_s=60)
    assert run(lines[2])["site_id"] == site["id"]
    assert run(lines[3])["entries"]
