"""The four lines of a user's first day, as README prints them, against a service on a port."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from service.client import Client
from tests.service.support import live_service, make_settings

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("live-service")]
ROOT = Path(__file__).parents[2]


def printed_lines() -> list[str]:
    """The curl lines of README, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("curl ")]


def test_the_first_day_works_as_printed(tmp_path: Path) -> None:
    submit, poll, changes, feed = printed_lines()
    with live_service(make_settings(tmp_path / "data")) as live:
        variables = {"URL": live.address, "DEPOTWATCH_KEY": live.key}

        def answered(line: str) -> dict[str, object]:
            done = subprocess.run(
                ["bash", "-euc", line.replace("curl ", "curl --fail-with-body -sS ", 1)],
                env={**os.environ, **variables}, cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            body: dict[str, object] = json.loads(done.stdout)
            return body

        site = answered(submit)
        variables |= {"SITE": str(site["id"]), "JOB": str(site["job"]), "CURSOR": ""}
        assert answered(poll)["id"] == site["job"]
        with Client(live.address, live.key) as client:
            client.wait(str(site["job"]), timeout_s=60)
        assert answered(poll)["state"] == "successful"
        found = answered(changes)["features"]
        assert isinstance(found, list)
        assert found
        news = answered(feed)
        assert {entry["event"] for entry in news["entries"]} == {"new"}  # type: ignore[attr-defined]
        variables["CURSOR"] = str(news["cursor"])
        assert answered(feed)["entries"] == []


def test_every_file_and_command_that_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for place in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in place:
            assert (ROOT / place).exists(), place
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for named in re.findall(r"\bmake ([a-z-]+)", text):
        assert named in targets, named
    from service.cli import _available

    for named in re.findall(r"depotwatch ([a-z-]+) (?:--|[A-Z]|#)", text):
        assert named in _available(), named
