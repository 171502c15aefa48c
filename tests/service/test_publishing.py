"""What followers hear when one report takes another's place: nothing is taken back that a run did not look at."""

from dataclasses import dataclass
from pathlib import Path

from starlette.testclient import TestClient

from benchmarks.service_fake import write_fake_report
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from tests.service.support import feature, work_off

# The stand-in's changes began between 1 May and 3 June 2024.
AFTERWARDS, HALF, WHOLE = "2024-07-01/2024-08-01", "2024-05-20/2024-08-01", "2024-01-01/2024-12-31"


@dataclass(frozen=True)
class Finding:
    """Finds its first so many changes, and none where it is asked for a period."""

    changes: int = 3

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        write_fake_report(unit, out, 0 if unit.period else self.changes)

    def afresh(self, products: Path) -> "Finding":
        return self


def heard(client: TestClient, cursor: str | None = None) -> tuple[list[tuple[str, str | None]], str]:
    """Return the feed's news after a cursor, and the cursor behind them."""
    page = client.get("/changes", params={} if cursor is None else {"since": cursor}).json()
    return [(entry["event"], entry["change"]) for entry in page["entries"]], page["cursor"]


def run(
    service: Service, client: TestClient, runner: Finding, period: str | None, kind: str = "analyse"
) -> str:
    job = client.post("/jobs", json={"type": kind, "sites": "all", "period": period})
    assert job.status_code == 202, job.text
    work_off(service, runner)
    return str(job.json()["id"])


def test_a_report_of_another_period_takes_nothing_back(service: Service, client: TestClient) -> None:
    client.post("/sites", json=feature("a"))
    work_off(service, Finding())
    first, cursor = heard(client)
    assert [kind for kind, _ in first] == ["new"] * 3
    for period in (AFTERWARDS, HALF):
        run(service, client, Finding(), period)
        news, cursor = heard(client, cursor)
        assert news == [("superseded", None)]
        assert client.get(f"/changes/{first[0][1]}").status_code == 200
    # All of it once more: what stood all the time is no news.
    run(service, client, Finding(), None)
    news, cursor = heard(client, cursor)
    assert news == [("superseded", None)]


def test_what_a_whole_run_no_longer_supports_is_taken_back_also_after_a_period(
    service: Service, client: TestClient
) -> None:
    client.post("/sites", json=feature("a"))
    work_off(service, Finding())
    first, cursor = heard(client)
    run(service, client, Finding(), AFTERWARDS)
    _, cursor = heard(client, cursor)
    run(service, client, Finding(2), None)
    news, cursor = heard(client, cursor)
    assert news == [("retracted", first[2][1]), ("superseded", None)]
    run(service, client, Finding(2), AFTERWARDS)
    run(service, client, Finding(2), None)
    news, _ = heard(client, cursor)
    assert news == [("superseded", None)] * 2


def test_a_report_of_a_period_takes_back_what_began_within_it(service: Service, client: TestClient) -> None:
    client.post("/sites", json=feature("a"))
    work_off(service, Finding())
    first, cursor = heard(client)
    run(service, client, Finding(), WHOLE)
    news, _ = heard(client, cursor)
    assert news == [
        *(("retracted", change) for change in sorted(str(c) for _, c in first)),
        ("superseded", None),
    ]


def test_a_promoted_period_takes_nothing_else_back_and_undone_all_stands_as_before(
    service: Service, client: TestClient
) -> None:
    client.post("/sites", json=feature("a"))
    work_off(service, Finding())
    _, cursor = heard(client)
    job = run(service, client, Finding(), AFTERWARDS, "reprocess")
    assert client.post(f"/jobs/{job}/promote?force=true").status_code == 200
    news, cursor = heard(client, cursor)
    assert news == [("superseded", None)]
    assert client.delete(f"/jobs/{job}/promote").status_code == 200
    news, cursor = heard(client, cursor)
    assert [kind for kind, _ in news if kind != "superseded"] == []


def test_a_report_says_what_it_tells_otherwise_than_the_one_before(
    service: Service, client: TestClient
) -> None:
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service, Finding())
    here = f"/sites/{site}/reports"
    first = client.get(f"{here}/1").json()
    assert first["compared_with"] is None
    assert "comparison" not in {link["rel"] for link in first["links"]}
    run(service, client, Finding(2), None)
    told = client.get(f"{here}/2").json()
    assert told["supersedes"] == first["id"]
    before = {"report": first["id"], "number": 1}
    assert told["compared_with"] == {**before, "new": 0, "updated": 0, "retracted": 1}
    (comparison,) = (link["href"] for link in told["links"] if link["rel"] == "comparison")
    assert client.get(comparison).json()["totals"]["lost"] == 1


def test_a_reprocess_names_what_it_was_compared_with_and_stays_as_it_is_when_promoted(
    service: Service, client: TestClient
) -> None:
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service, Finding())
    here = f"/sites/{site}/reports"
    first = client.get(f"{here}/latest").json()["id"]
    job = run(service, client, Finding(4), None, "reprocess")
    made = client.get(f"{here}/2")
    before = {"report": first, "number": 1}
    assert made.json()["compared_with"] == {**before, "new": 1, "updated": 0, "retracted": 0}
    (comparison,) = (link["href"] for link in made.json()["links"] if link["rel"] == "comparison")
    assert comparison == f"/comparisons/{first}..{made.json()['id']}"
    _, cursor = heard(client)
    client.post(f"/jobs/{job}/promote")
    news, _ = heard(client, cursor)
    assert [kind for kind, _ in news] == ["new", "superseded"]
    for report in ("latest", "2"):
        again = client.get(f"{here}/{report}")
        assert (again.content, again.headers["etag"]) == (made.content, made.headers["etag"])
    assert client.get(here).json()["reports"][0]["supersedes"] == first
