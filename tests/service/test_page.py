"""The page as files: who gets it, how it is cached, what it may reach, and that it is what its sources give."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from imagery.calibration import PRIOR, stored_verifier
from imagery.timeseries.disturbances import WEIGHTS
from service.api.page import STATIC, prefers_page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
WEB = Path(__file__).parents[2] / "service" / "web"
NODE = shutil.which("node") is not None and (WEB / "node_modules").is_dir()


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/html;q=0.9, application/json;q=0.5", True),
        ("TEXT/HTML", True),
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
    ],
)
def test_html_is_for_those_who_prefer_it(accept: str | None, wanted: bool) -> None:
    assert prefers_page(accept) is wanted


def test_browsers_get_the_page_and_programs_get_links(lite_client: TestClient) -> None:
    page = lite_client.get("/", headers={"Accept": BROWSER})
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    links = lite_client.get("/", headers={"Accept": "*/*"})
    assert links.json()["links"]
    assert "Accept" in page.headers["vary"]
    assert "Accept" in links.headers["vary"]


def test_the_page_needs_no_key_and_reaches_nothing_else(lite_client: TestClient) -> None:
    page = lite_client.get("/", headers={"Accept": BROWSER, "Authorization": ""})
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert re.search(r"https?:", policy) is None
    # No inline script, no inline style: neither would be run under that policy.
    assert re.search(r"<script(?![^>]*\ssrc=)", page.text) is None
    assert "<style" not in page.text
    assert " style=" not in page.text


def test_every_file_the_page_names_is_there_and_kept_for_ever(lite_client: TestClient) -> None:
    page = lite_client.get("/", headers={"Accept": BROWSER})
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(named) >= 3
    for path in named:
        answer = lite_client.get(path)
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
        again = lite_client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_packed_file_unpacks_to_the_same_bytes(lite_client: TestClient) -> None:
    path = next(p for p in (STATIC / "assets").glob("index-*.js"))
    for encoding, packed in (
        ("gzip", True),
        ("gzip;q=0", False),
        ("identity", False),
        ("br, gzip;q=0.5", True),
    ):
        answer = lite_client.get(f"/static/assets/{path.name}", headers={"Accept-Encoding": encoding})
        assert (answer.headers.get("content-encoding") == "gzip") is packed
        assert answer.content == path.read_bytes()


@pytest.mark.parametrize(
    "path", ["../pyproject.toml", "..%2f..%2fpyproject.toml", "%2fetc%2fpasswd", "nothing.js", "", "assets"]
)
def test_no_path_reaches_another_file(lite_client: TestClient, path: str) -> None:
    assert lite_client.get(f"/static/{path}").status_code == 404


def test_the_page_is_modest() -> None:
    from service.api.page import assets

    scripts = {name: len(asset.packed) for name, asset in assets().items() if name.endswith(".js")}
    assert sum(scripts.values()) < 200_000, scripts


def test_no_built_file_names_another_host() -> None:
    # Namespaces and links to specifications are names, not requests; anything fetched would be a call to one of these.
    for path in STATIC.rglob("*.js"):
        text = path.read_text("utf-8")
        assert re.search(r"""(?:fetch|import)\(\s*["'`]https?:""", text) is None, path.name
        assert "cdn." not in text, path.name


def test_a_forecast_judges_like_a_submission_and_keeps_nothing(lite_client: TestClient) -> None:
    square = [[30.0, 50.0], [30.01, 50.0], [30.01, 50.01], [30.0, 50.01], [30.0, 50.0]]
    bow = [[30.0, 50.0], [30.01, 50.01], [30.01, 50.0], [30.0, 50.01], [30.0, 50.0]]

    def site(ring: list[list[float]]) -> dict[str, object]:
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "properties": {"name": "a"}, "geometry": geometry}

    good = lite_client.post("/sites/forecast", json=site(square)).json()["features"][0]
    assert good["coverage"]["scenes"] == 0
    assert good["warnings"]
    assert good["properties"]["name_taken"] is False
    assert lite_client.get("/sites").json()["features"] == []
    forecast, submission = (lite_client.post(path, json=site(bow)) for path in ("/sites/forecast", "/sites"))
    assert (forecast.status_code, forecast.json()) == (submission.status_code, submission.json())
    assert forecast.status_code == 422
    assert lite_client.post("/sites", json=site(square)).status_code == 201
    assert (
        lite_client.post("/sites/forecast", json=site(square)).json()["features"][0]["properties"][
            "name_taken"
        ]
        is True
    )


def test_every_number_that_speaks_for_a_change_has_words_on_the_page() -> None:
    words = (WEB / "src" / "words.ts").read_text()
    said = set(
        re.findall(r'^  "?([a-z ]+)"?: "', words[words.index("EVIDENCE") :].split("};")[0], re.MULTILINE)
    )
    judges = [judge for verifier in (PRIOR, stored_verifier()) for judge in verifier.judges.values()]
    fine = {name for judge in judges for name in judge.names if name is not None}
    coarse = {name for weights in WEIGHTS.values() for name in weights} | {"once"}
    assert fine | coarse <= said
    assert any("Looks like one" in path.read_text() for path in STATIC.rglob("*.js"))


if NODE:  # The built files are committed so that nobody needs Node; where it is, they are compared with the sources.

    def test_the_built_files_are_what_the_sources_give(tmp_path: Path) -> None:
        build = [
            "node",
            "node_modules/vite/bin/vite.js",
            "build",
            "--outDir",
            str(tmp_path),
            "--logLevel",
            "error",
        ]
        subprocess.run(build, cwd=WEB, check=True, timeout=120)
        made = {
            p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()
        }
        kept = {p.relative_to(STATIC).as_posix(): p.read_bytes() for p in STATIC.rglob("*") if p.is_file()}
        assert sorted(made) == sorted(kept), "run `npm run build` in service/web and commit service/static"
        assert made == kept

    def test_the_sources_hold_to_their_types() -> None:
        subprocess.run(
            ["node", "node_modules/typescript/bin/tsc", "--noEmit"], cwd=WEB, check=True, timeout=120
        )
