"""A worker whose disk is full gives its unit back with a reason, goes on living, and does it when there is room."""

import tempfile
from typing import Any

import pytest
from sqlalchemy import select

from service.context import Service
from service.tables import unit_log
from tests.service.support import client_of, feature, make_worker, work_off


def test_no_room_for_a_units_files_costs_a_try_and_no_work(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(service)
    site = client.post("/sites", json=feature("a")).json()["id"]
    left = [1]
    real = tempfile.mkdtemp

    def full(*args: Any, **options: Any) -> Any:
        if left[0] and options.get("prefix") == "unit-":
            left[0] -= 1
            raise OSError(28, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    assert make_worker(service).run_one()
    assert client.get("/jobs").json()["jobs"][0]["state"] in {"accepted", "running"}
    with service.database.read() as connection:
        told = [tuple(row) for row in connection.execute(select(unit_log.c.code, unit_log.c.message))]
    assert [code for code, _ in told] == ["no-room"]
    assert "No space left on device; make room there" in told[0][1]
    work_off(service)
    assert client.get("/jobs").json()["jobs"][0]["state"] == "successful"
    assert client.get(f"/sites/{site}/reports/latest").status_code == 200
