"""``depotwatch reprocess``: estimate, run, errors one by one; killed or interrupted, it carries on and loses nothing."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from benchmarks.service_fake import FakeRunner
from imagery.errors import DepotwatchError
from service.analysis_unit import AnalyseUnit, Step
from service.cli import main
from service.commands import reprocess
from service.context import Service
from service.intake import read_document
from service.settings import Settings
from service.sites import create_site
from service.tables import jobs, reports, sites, units
from service.tenancy import LOCAL, ensure_tenant
from tests.service.support import environment_of, feature, live_service, make_settings, square

# The command as a process, with the stand-in for the analysis.
PROCESS = """
import sys
from pathlib import Path
from benchmarks.service_fake import FakeRunner
from service.cli import main
from service.commands import reprocess
reprocess.LOOK_S = 0.05
reprocess.runner_for = lambda _settings: FakeRunner(seconds=0.3, notes=Path(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""


class Broken(DepotwatchError):
    """A scene that will not be better next time."""

    code = "broken-for-a-test"


def with_sites(service: Service, count: int) -> list[str]:
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, LOCAL)
        return [
            create_site(
                service.database,
                connection,
                tenant,
                read_document(feature(f"site {i}", geometry=square(10 + i))).drafts[0],
                max_sites=1_000,
            ).id
            for i in range(count)
        ]


def options(settings: Settings) -> list[str]:
    return ["--data", str(settings.data), *(["--database", settings.database] if settings.database else [])]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in this process, with the stand-in for the analysis and short waits."""
    for name, value in environment_of(make_settings(Path("unused"))).items():
        if name.startswith("DEPOTWATCH_") and name not in {"DEPOTWATCH_DATA", "DEPOTWATCH_DATABASE"}:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(reprocess, "LOOK_S", 0.02)
    monkeypatch.setattr(reprocess, "runner_for", lambda _settings: FakeRunner())


def report_counts(service: Service) -> Counter[str]:
    with service.database.read() as connection:
        return Counter(connection.execute(select(reports.c.site)).scalars())


def job_count(service: Service) -> int:
    with service.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(jobs)).scalar_one())


@pytest.mark.usefixtures("fake")
def test_a_batch_runs_to_its_end_and_the_same_command_finds_it_done(
    service: Service, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    made = with_sites(service, 3)
    command = ["reprocess", "--sites", "all", "--params", "min_confidence=0.7", *options(settings)]
    assert main(command) == 0
    first = capsys.readouterr()
    assert "3 of 3 sites done" in first.out
    assert "no past runs" in first.err
    assert report_counts(service) == Counter(made)
    with service.database.read() as connection:
        assert set(connection.execute(select(sites.c.current_report)).scalars()) == {None}

    assert main(command) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "was done before" in second.err
    assert job_count(service) == 1
    assert main([*command, "--again"]) == 0
    assert job_count(service) == 2


@pytest.mark.usefixtures("fake")
def test_other_parameters_or_another_period_are_another_batch(
    lite_service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with_sites(lite_service, 1)
    file = tmp_path / "params.json"
    file.write_text('{"min_confidence": 0.9, "network": true}', "utf-8")
    here = ["reprocess", "--sites", "site 0", "--json", *options(lite_service.settings)]
    seen = []
    for more in (
        [],
        ["--period", "2024-01-01/2024-06-30"],
        ["--params", str(file), "network=false"],
        ["--params", "min_confidence=0.9", "network=False"],
    ):
        assert main([*here, *more]) == 0
        seen.append(json.loads(capsys.readouterr().out)["job"])
    assert len({job["id"] for job in seen}) == 3
    assert seen[2] == seen[3]
    assert seen[2]["parameters"] == {"min_confidence": 0.9, "network": False}
    assert seen[1]["period"] == "2024-01-01/2024-06-30"


@pytest.mark.usefixtures("fake")
def test_an_estimate_alone_starts_nothing(lite_service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    with_sites(lite_service, 2)
    command = ["reprocess", "--sites", "all", "--estimate", *options(lite_service.settings)]
    assert main(command) == 0
    assert "2 sites, 0 scenes" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sites"] == 2
    assert job_count(lite_service) == 0


@pytest.mark.usefixtures("fake")
def test_failed_units_are_listed_with_their_reasons(
    lite_service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = with_sites(lite_service, 3)

    class Picky(FakeRunner):
        def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
            if unit.site == made[1]:
                raise Broken("scene-7 of archive north is truncated; fetch it again")
            super().__call__(unit, out, step)

    monkeypatch.setattr(reprocess, "runner_for", lambda _settings: Picky())
    command = ["reprocess", "--sites", "all", "--promote", *options(lite_service.settings)]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "2 of 3 sites done" in said
    assert f"{made[1]}  broken-for-a-test: scene-7 of archive north is truncated" in said
    with lite_service.database.read() as connection:
        assert set(connection.execute(select(sites.c.current_report)).scalars()) == {None}

    # Once the cause is gone the same command does what is missing, and no more.
    ran: list[str] = []

    class Noting(FakeRunner):
        def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
            ran.append(unit.site)
            super().__call__(unit, out, step)

    monkeypatch.setattr(reprocess, "runner_for", lambda _settings: Noting())
    assert main(command) == 0
    told = capsys.readouterr()
    assert "1 failed sites are tried again" in told.err
    assert "3 of 3 sites done" in told.out
    assert "promoted: 3 sites" in told.out
    assert ran == [made[1]]
    assert job_count(lite_service) == 1


@pytest.mark.usefixtures("fake")
def test_promote_makes_the_reports_current(lite_service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    with_sites(lite_service, 2)
    command = ["reprocess", "--sites", "all", "--promote", "--json", *options(lite_service.settings)]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["promotion"]["sites"]["promoted"] == 2
    assert told["job"]["promoted"] is not None
    with lite_service.database.read() as connection:
        current = set(connection.execute(select(sites.c.current_report)).scalars())
    assert current == {row["report"] for row in told["results"]}


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--params", "min_confidence=2"], "min_confidence is 2; it must lie between 0 and 1"),
        (["--params", "sharpness=1"], "there is no parameter 'sharpness'"),
        (["--params", "nowhere.json"], "'nowhere.json' is neither NAME=VALUE nor a JSON file"),
        (["--period", "2024-06-30/2024-01-01"], "ends before it starts"),
        (["--sites", "site 0,atlantis"], "there is no site 'atlantis'"),
        (["--tenant", "nobody"], "there is no tenant 'nobody'"),
        (["--workers", "0"], "--workers is 0"),
        (["--url", "http://127.0.0.1:1"], "give --url for a running service, or --data"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line_and_starts_nothing(
    lite_service: Service, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    with_sites(lite_service, 1)
    command = ["reprocess", "--sites", "all", *options(lite_service.settings), *more]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert job_count(lite_service) == 0


def test_a_folder_without_data_is_named_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reprocess", "--sites", "all", "--data", str(tmp_path / "nothing")]) == 2
    assert "there is no depotwatch data in" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_a_scheduler_is_for_work_here_and_not_for_a_running_service(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [
        "reprocess",
        "--sites",
        "all",
        "--url",
        "http://127.0.0.1:1",
        "--scheduler",
        "tcp://127.0.0.1:2",
    ]
    assert main(command) == 2
    assert "--scheduler to work here" in capsys.readouterr().err


def begin(settings: Settings, notes: Path) -> subprocess.Popen[str]:
    command = ["reprocess", "--sites", "all", "--params", "min_confidence=0.6", *options(settings)]
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(notes), *command],
        env=environment_of(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended_units(service: Service) -> int:
    with service.database.read() as connection:
        done = select(func.count()).select_from(units).where(units.c.state == "successful")
        return int(connection.execute(done).scalar_one())


def wait_for(service: Service, running: subprocess.Popen[str], count: int) -> None:
    until = time.monotonic() + 60
    while ended_units(service) < count:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def log_of(notes: Path) -> Counter[tuple[str, str]]:
    return Counter((line.split()[0], line.split()[1]) for line in notes.read_text().splitlines())


def finish(running: subprocess.Popen[str], code: int) -> tuple[str, str]:
    out, err = running.communicate(timeout=60)
    assert running.returncode == code, err
    return out, err


@pytest.mark.long
def test_killed_in_the_middle_it_carries_on_and_nothing_is_lost_or_doubled(
    service: Service, settings: Settings, tmp_path: Path
) -> None:
    made, notes = with_sites(service, 8), tmp_path / "notes"
    running = begin(settings, notes)
    for stage in (2, 5):
        wait_for(service, running, stage)
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=30)
        running = begin(settings, notes)
    out, err = finish(running, 0)
    assert "8 of 8 sites done" in out
    assert "is carried on" in err
    assert job_count(service) == 1
    assert report_counts(service) == Counter(made)
    log = log_of(notes)
    # A site is begun once, but for those in hand when the process was killed.
    assert sum(log["begin", site] for site in made) <= len(made) + 2
    assert all(log["end", site] >= 1 for site in made)


@pytest.mark.long
def test_interrupted_it_gives_its_unit_back_and_says_how_to_go_on(
    lite_service: Service, tmp_path: Path
) -> None:
    made, notes, settings = with_sites(lite_service, 12), tmp_path / "notes", lite_service.settings
    running = begin(settings, notes)
    wait_for(lite_service, running, 1)
    running.send_signal(signal.SIGINT)
    _, err = finish(running, 130)
    assert "the same command carries on" in err
    with lite_service.database.read() as connection:
        states = set(connection.execute(select(units.c.state)).scalars())
    assert states <= {"ready", "successful"}
    finish(begin(settings, notes), 0)
    assert report_counts(lite_service) == Counter(made)


@pytest.mark.long
@pytest.mark.xdist_group("live-service")
def test_a_running_service_does_the_same_over_http(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.client import Client

    monkeypatch.setattr(reprocess, "LOOK_S", 0.1)
    with live_service(make_settings(tmp_path / "data")) as live:
        with Client(live.address, live.key) as client:
            for i in range(3):
                client.wait(str(client.add_site(f"site {i}", square(10 + i)).job), timeout_s=60)
        monkeypatch.setenv("DEPOTWATCH_KEY", live.key)
        command = ["reprocess", "--sites", "site 0,site 2", "--params", "min_confidence=0.8", "--json"]
        assert main([*command, "--url", live.address]) == 0
        first = json.loads(capsys.readouterr().out)
        assert first["job"]["units"]["done"] == first["estimate"]["sites"] == 2
        assert main([*command, "--url", live.address, "--promote"]) == 0
        second = json.loads(capsys.readouterr().out)
        assert second["job"]["id"] == first["job"]["id"]
        assert second["promotion"]["sites"]["promoted"] == 2
        monkeypatch.setenv("DEPOTWATCH_KEY", "dw_wrong")
        assert main([*command, "--url", live.address]) == 2
        assert "unauthorised" in capsys.readouterr().err
