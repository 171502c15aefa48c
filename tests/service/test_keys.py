"""Keys: hashed, scoped, limited, revoked at once; nobody comes in without one."""

import asyncio
import logging

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from service.admission import Admission
from service.app import build_app
from service.audit import Caller
from service.context import Service, open_service
from service.errors import BadSettings, TooManyRequests, Unauthorised
from service.keys import (
    SCOPES,
    BadKeyRequest,
    Gate,
    UnknownScope,
    create_key,
    list_keys,
    pepper,
    revoke_key,
    rotate_key,
)
from service.server import check_exposure, is_loopback
from service.tables import audit, keys
from service.telemetry import JsonLines
from tests.service.support import client_of, feature, make_settings


def make_key(service: Service, *scopes: str, **more: float) -> str:
    return create_key(
        service.database, pepper(service.settings), "first", scopes or SCOPES, valid_s=more.get("valid_s")
    )


def admit(gate: Gate, key: str) -> Caller:
    """Let one request in, by a process of its own."""
    admission = Admission(gate)
    try:
        return asyncio.run(admission.admit(key, "")).caller
    finally:
        admission.close()


def test_the_secret_is_stored_nowhere(lite_service: Service) -> None:
    key = make_key(lite_service)
    secret = key.split("_", 2)[2]
    for path in lite_service.settings.data.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert secret not in str(list_keys(lite_service.database))


def test_calls_without_or_with_a_wrong_key_are_401(service: Service) -> None:
    key = make_key(service)
    app = TestClient(build_app(service))
    for header in (None, "Bearer nonsense", f"Bearer {key}x", f"Bearer {key[:-1]}", f"Basic {key}", "Bearer"):
        headers = {} if header is None else {"Authorization": header}
        answer = app.get("/sites", headers=headers)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "unauthorised"
    assert app.get("/sites", headers={"Authorization": f"bearer {key}"}).status_code == 200


def test_a_scope_opens_its_calls_and_no_others(lite_service: Service) -> None:
    reader = client_of(lite_service, "sites:read")
    assert reader.get("/sites").status_code == 200
    refused = reader.post("/sites", json=feature("x"))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert reader.get("/changes").status_code == 403
    assert client_of(lite_service, "admin").post("/sites", json=feature("y")).status_code == 201


def test_unknown_or_no_scopes_make_no_key(lite_service: Service) -> None:
    for scopes in (["sites:reed"], [], [""]):
        with pytest.raises(UnknownScope):
            create_key(lite_service.database, b"x", "first", scopes)


def test_a_revoked_key_is_out_with_the_next_request(service: Service) -> None:
    client = client_of(service)
    assert client.get("/sites").status_code == 200
    key_id = list_keys(service.database)[0].id
    assert revoke_key(service.database, key_id)
    assert client.get("/sites").status_code == 401
    assert not revoke_key(service.database, key_id)


def test_an_expired_key_is_out(service: Service) -> None:
    gate = Gate(service.database, pepper(service.settings), service.settings)
    key = make_key(service, valid_s=3600.0)
    admit(gate, key)
    with service.database.write() as connection:
        connection.execute(update(keys).values(expires=service.database.now - 1))
    with pytest.raises(Unauthorised, match="expired"):
        admit(gate, key)


def test_rotation_lets_both_keys_in_for_a_while(service: Service) -> None:
    gate = Gate(service.database, pepper(service.settings), service.settings)
    old = make_key(service, "sites:read")
    new = rotate_key(service.database, pepper(service.settings), old, 3600.0)
    with service.database.write() as connection:
        connection.execute(update(keys).values(tokens=10.0))
    assert admit(gate, old).scopes == admit(gate, new).scopes == {"sites:read"}
    assert {k.expires is None for k in list_keys(service.database)} == {True, False}


@pytest.mark.parametrize(("valid_s", "overlap_s", "left_s"), [(1e7, 3600.0, 3600.0), (60.0, 3600.0, 60.0)])
def test_a_rotated_key_ends_with_the_overlap_and_no_later_than_it_would_have(
    service: Service, valid_s: float, overlap_s: float, left_s: float
) -> None:
    secret = pepper(service.settings)
    old = create_key(service.database, secret, "first", ["sites:read"], valid_s=valid_s)
    for days_s in (None, 500.0):
        rotate_key(service.database, secret, old, overlap_s, valid_s=days_s)
    known = list_keys(service.database)
    assert len(known) == 3
    assert known[0].expires == pytest.approx(known[0].created + left_s, abs=60.0)
    assert known[1].expires is None
    assert known[2].expires == pytest.approx(known[2].created + 500.0)


def test_a_key_that_has_ended_has_no_successor(service: Service) -> None:
    secret = pepper(service.settings)
    old = make_key(service)
    rotate_key(service.database, secret, old, 0.0)
    assert [k.state for k in list_keys(service.database)] == ["expired", "valid"]
    with pytest.raises(Unauthorised):
        rotate_key(service.database, secret, old, 0.0)


@pytest.mark.parametrize("tenant", ["", "  ", "a\nb", "x" * 300])
def test_a_key_is_some_tenants(lite_service: Service, tenant: str) -> None:
    with pytest.raises(BadKeyRequest):
        create_key(lite_service.database, pepper(lite_service.settings), tenant, ["admin"])
    assert list_keys(lite_service.database) == []


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), -1.0])
def test_a_key_lasts_for_a_time_that_is_one(lite_service: Service, time_s: float) -> None:
    secret = pepper(lite_service.settings)
    with pytest.raises(BadKeyRequest):
        create_key(lite_service.database, secret, "first", ["admin"], valid_s=time_s)
    old = make_key(lite_service)
    with pytest.raises(BadKeyRequest):
        rotate_key(lite_service.database, secret, old, time_s)
    with pytest.raises(BadKeyRequest):
        rotate_key(lite_service.database, secret, old, 60.0, valid_s=time_s)
    assert [k.state for k in list_keys(lite_service.database)] == ["valid"]


def test_the_rate_limit_holds_over_processes_and_says_when_to_come_back(
    service: Service,
) -> None:
    slow = service.settings.model_copy(update={"rate_per_s": 0.5, "rate_burst": 10.0})
    key = make_key(service)
    with service.database.write() as connection:
        connection.execute(update(keys).values(tokens=10.0))
    gates = [Gate(service.database, pepper(service.settings), slow) for _ in range(3)]
    admitted, waits = 0, []
    for turn in range(40):
        try:
            admit(gates[turn % 3], key)
            admitted += 1
        except TooManyRequests as error:
            waits.append(error.retry_after_s)
    assert 10 <= admitted <= 12
    assert all(0 < wait <= 2.0 for wait in waits)


def test_past_the_limit_is_429_with_retry_after(lite_service: Service) -> None:
    lite_service.gate._settings = lite_service.settings.model_copy(
        update={"rate_per_s": 0.1, "rate_burst": 1.0}
    )
    client = client_of(lite_service)
    with lite_service.database.write() as connection:
        connection.execute(update(keys).values(tokens=1.0))
    codes = [client.get("/sites").status_code for _ in range(3)]
    assert codes == [200, 429, 429]
    assert int(client.get("/sites").headers["retry-after"]) >= 1


def test_last_use_is_noted(service: Service) -> None:
    client_of(service).get("/sites")
    service.admission.close()
    assert list_keys(service.database)[0].last_used is not None


def test_every_change_of_state_is_in_the_audit_log(service: Service) -> None:
    client = client_of(service)
    site = client.post("/sites", json=feature("x"), headers={"X-Request-ID": "req-1"}).json()["id"]
    client.delete(f"/sites/{site}")
    with service.database.read() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id)).all()
    assert [row.action for row in rows] == ["key.create", "site.create", "site.delete"]
    assert (rows[1].subject, rows[1].request) == (site, "req-1")


def test_no_key_gets_into_a_log_line(lite_service: Service) -> None:
    key = make_key(lite_service)
    record = logging.makeLogRecord({"msg": f"said {key}", "header": f"Bearer {key}"})
    assert key not in JsonLines().format(record)


def test_a_loopback_service_without_keys_is_open_until_the_first_key(lite_service: Service) -> None:
    lite_service.open = True
    nobody = TestClient(build_app(lite_service))
    assert nobody.get("/sites").status_code == 200
    key = make_key(lite_service)
    assert nobody.get("/sites").status_code == 401
    revoke_key(lite_service.database, key)
    assert nobody.get("/sites").status_code == 401


def test_the_network_is_not_answered_without_keys(lite_service: Service) -> None:
    check_exposure(lite_service, "127.0.0.1")
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(BadSettings, match="keys create"):
            check_exposure(lite_service, host)
    make_key(lite_service)
    check_exposure(lite_service, "0.0.0.0")
    assert is_loopback("127.3.2.1")
    assert is_loopback("::1")


def test_the_secret_file_is_made_once_and_for_the_owner_only(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    settings = make_settings(tmp_path / "d", secret="")
    first = pepper(settings)
    assert pepper(settings) == first
    assert ((tmp_path / "d" / "secret").stat().st_mode & 0o777) == 0o600
    open_service(settings).close()
