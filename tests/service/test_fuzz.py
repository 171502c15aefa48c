"""Schemathesis on the whole API: whatever is sent, the answer is one the OpenAPI promises, and never a 500."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.app import build_app
from service.context import Service, open_service
from service.keys import SCOPES, create_key, pepper
from tests.service.support import client_of, feature, make_settings, work_off

pytestmark = pytest.mark.long
EXAMPLES = 15
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """A service with something in it, and a key."""
    made = open_service(
        make_settings(
            tmp_path_factory.mktemp("fuzz") / "data", rate_per_s=1e6, rate_burst=1e7, max_attempts=1
        )
    )
    client = client_of(made)
    client.post("/sites", json=feature("a"))
    work_off(made)
    key = create_key(made.database, pepper(made.settings), "first", SCOPES, burst=1e7)
    yield made, key
    made.close()


def test_no_call_breaks_the_service(fuzzed: tuple[Service, str]) -> None:
    service, key = fuzzed
    schema = schemathesis.openapi.from_asgi("/openapi.json", build_app(service))
    faults: list[str] = []
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/jobs/{job}/events":
            continue  # a stream that goes on while the job runs; test_live.py follows it
        tried += 1
        try:
            _fuzz(operation, key)
        except FailureGroup as error:
            faults += [f"{operation.label}: {fault}"[:1500] for fault in error.exceptions]
    assert tried > 30
    assert not faults, "\n\n".join(faults)


def _fuzz(operation: schemathesis.schemas.APIOperation, key: str) -> None:
    @given(case=operation.as_strategy())
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=list(CHECKS))

    run()
