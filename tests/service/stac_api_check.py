"""Run stac-api-validator with schemas that are kept: nothing is asked for outside this machine.

``python -m tests.service.stac_api_check ADDRESS KEY COLLECTION`` says what it found and ends with 1 where something is
wrong. ``stac_schemas`` holds the extensions' schemas as their projects publish them (Apache-2.0); pystac has STAC's own.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit

import pystac
import requests
from pystac.stac_io import DefaultStacIO
from pystac.validation.local_validator import get_local_schema_cache

HERE = Path(__file__).parent / "stac_schemas"
DRAFT = "http://json-schema.org/draft-07/schema#"
CLASSES = ("core", "collections", "features", "item-search")
PLACE = {"type": "Polygon", "coordinates": [[[29, 49], [31, 49], [31, 51], [29, 51], [29, 49]]]}


def schema_at(address: str) -> str:
    """Return a schema by its address."""
    bare = urldefrag(address).url
    known = get_local_schema_cache()
    if bare in known:
        return json.dumps(known[bare])
    if bare.startswith("https://proj.org/"):
        return json.dumps({"$schema": DRAFT, "$id": bare})  # none of our Items has PROJJSON
    return (HERE / f"{urlsplit(bare).path.split('/')[1]}.json").read_text()


class KeptIO(DefaultStacIO):
    """How pystac reads: schemas from here."""

    def read_text_from_href(self, href: str) -> str:
        """Return a document's text."""
        return schema_at(href) if href.startswith("https://") else super().read_text_from_href(href)


class KeptAdapter(requests.adapters.BaseAdapter):
    """How requests reads what is kept; what is not kept is an error."""

    def send(self, request: requests.PreparedRequest, *_more: Any, **_options: Any) -> requests.Response:
        """Answer with a schema."""
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, str(request.url)
        answer._content = schema_at(answer.url).encode()
        return answer

    def close(self) -> None:
        """Hold nothing open."""


class Offline(requests.Session):
    """A session that asks nobody but the service."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("https://", KeptAdapter())


def check(address: str, key: str, collection: str) -> None:
    """Validate every class that the service claims."""
    requests.Session = requests.sessions.Session = Offline  # type: ignore[misc]
    pystac.StacIO.set_default(KeptIO)
    # Only now: it takes the session from requests when it is imported.
    from stac_api_validator.__main__ import main

    wanted = [word for name in CLASSES for word in ("--conformance", name)]
    place = ["--collection", collection, "--geometry", json.dumps(PLACE)]
    auth = ["--auth-bearer-token", key, "--headers", f"Authorization: Bearer {key}"]
    main(["--root-url", address, *wanted, *place, *auth])


if __name__ == "__main__":
    check(*sys.argv[1:])
