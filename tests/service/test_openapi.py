"""What the OpenAPI promises is what is answered, on objects that are there: status, media type and shape."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from service.context import Service
from tests.service.support import client_of, feature, work_off
from tests.service.test_isolation import calls

OPEN_ENDED = "/jobs/{job}/events"


class Promises:
    """The OpenAPI of a service, asked what it says of an answer."""

    def __init__(self, client: TestClient) -> None:
        self._spec: dict[str, Any] = client.get("/openapi.json").json()

    def paths(self) -> list[str]:
        """Every path with a GET, in the order ``calls`` fills them in."""
        return [path for path, operations in self._spec["paths"].items() if "get" in operations]

    def broken(self, path: str, answer: Any) -> str | None:
        """Say what an answer to GET does that the OpenAPI does not tell of; None where nothing."""
        told = self._spec["paths"][path]["get"]["responses"].get(str(answer.status_code))
        if told is None:
            return f"{path}: {answer.status_code} is not told of"
        if not answer.content:
            return None if "content" not in told else f"{path}: {answer.status_code} promises a body"
        media = answer.headers["content-type"].partition(";")[0]
        content = told["content"]
        if media not in content and "*/*" not in content:
            return f"{path}: {answer.status_code} is {media}, told of are {sorted(content)}"
        schema = content.get(media, {}).get("schema")
        if schema is None or "json" not in media:
            return None
        whole = Draft202012Validator({**schema, "components": self._spec["components"]})
        faults = [fault.message[:200] for fault in whole.iter_errors(answer.json())]
        return f"{path}: {faults}" if faults else None


def test_every_answer_is_one_the_openapi_tells_of(service: Service, client: TestClient) -> None:
    promises = Promises(client)
    faults: list[str | None] = []
    conditional = partial = 0
    of_path = {path for path in promises.paths() if path != OPEN_ENDED}
    for method, path, _ in calls(service, client):
        template = next((p for p in sorted(of_path, key=_wildcards) if _fits(p, path)), None)
        if method != "GET" or template is None:
            continue
        answer = client.get(path)
        if answer.status_code != 200:
            continue
        faults.append(promises.broken(template, answer))
        if "etag" in answer.headers:
            again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
            assert again.status_code == 304, path
            faults.append(promises.broken(template, again))
            conditional += 1
        if answer.headers.get("accept-ranges") == "bytes":
            part = client.get(path, headers={"Range": "bytes=0-0"})
            assert part.status_code == 206, path
            faults.append(promises.broken(template, part))
            partial += 1
    assert [fault for fault in faults if fault] == []
    assert (len(faults) > 40, conditional > 20, partial > 5) == (True, True, True)


def _wildcards(template: str) -> tuple[int, int]:
    return template.count("{"), -len(template)


def _fits(template: str, path: str) -> bool:
    parts, given = template.split("/"), path.split("/")
    return len(parts) == len(given) and all(
        part == value or ("{" in part and value.endswith(part.rpartition("}")[2]))
        for part, value in zip(parts, given, strict=True)
    )


@pytest.mark.parametrize("f", ["geojson", "csv", "kmz", "gpkg", "parquet"])
def test_every_export_is_of_a_media_type_the_openapi_tells_of(service: Service, f: str) -> None:
    client = client_of(service)
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service)
    answer = client.get(f"/sites/{site}/changes", params={"f": f})
    assert answer.status_code == 200, answer.text
    assert Promises(client).broken("/sites/{site}/changes", answer) is None


def test_the_end_of_a_stream_is_told_of(service: Service, client: TestClient) -> None:
    job = client.post("/sites", json=feature("a")).json()["job"]
    work_off(service)
    ended = client.get(f"/jobs/{job}/events", headers={"Last-Event-ID": "1000"})
    assert ended.status_code == 204
    assert Promises(client).broken("/jobs/{job}/events", ended) is None


def test_ranges_are_for_get_and_a_missed_one_says_how_much_there_is(
    service: Service, client: TestClient
) -> None:
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service)
    bundle = f"/sites/{site}/reports/latest/bundle.zip"
    size = len(client.get(bundle).content)
    head = client.head(bundle, headers={"Range": "bytes=0-0"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(size))
    missed = client.get(bundle, headers={"Range": f"bytes={size}-"})
    assert (missed.status_code, missed.json()["code"]) == (416, "range-not-satisfiable")
    assert missed.headers["content-range"] == f"bytes */{size}"
