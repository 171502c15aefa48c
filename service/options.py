"""Command-line options that several commands share, and the settings they make."""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from service.errors import BadSettings
from service.settings import Settings

if TYPE_CHECKING:
    from service.client import Client

# An address that never answered is rather mistyped than restarting.
FIRST_ANSWER_S = 20.0


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Declare where the service keeps what it knows."""
    parser.add_argument(
        "--data", type=Path, help="folder of database, reports and products (DEPOTWATCH_DATA)"
    )
    parser.add_argument(
        "--database", help="PostgreSQL URL instead of the embedded SQLite (DEPOTWATCH_DATABASE)"
    )
    parser.add_argument("--artefacts", help="folder or s3:// URL of reports (DEPOTWATCH_ARTEFACTS)")


def add_remote_options(parser: argparse.ArgumentParser) -> None:
    """Declare which service to talk to; the key comes from DEPOTWATCH_KEY, never from the command line."""
    parser.add_argument(
        "--url", default="http://127.0.0.1:8000", help="the service's address; DEPOTWATCH_KEY holds the key"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def remote_client(args: argparse.Namespace) -> "Client":
    """Return a client of the service that ``--url`` names; it says on stderr where nothing comes.

    Raises
    ------
    BadSettings : no such address can be
    """
    import httpx

    from service.client import Client

    try:
        return Client(args.url, os.environ.get("DEPOTWATCH_KEY"), first_s=FIRST_ANSWER_S, notice=_on_stderr)
    except (httpx.InvalidURL, ValueError) as error:
        raise BadSettings(f"--url {args.url[:200]!r}: {error}; give http://HOST:PORT") from error


def write_out(path: Path, data: bytes) -> None:
    """Write what a service sent, under another name first: whoever waits for the file never reads half of it.

    Raises
    ------
    CannotWrite : there is no such folder, or no room, or something else of that name
    """
    from pipelines.register import CannotWrite

    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise CannotWrite(f"{path} cannot be written: {error.strerror}") from error


def _on_stderr(sentence: str) -> None:
    print(f"depotwatch: {sentence}", file=sys.stderr, flush=True)


def settings_from(args: argparse.Namespace, **more: Any) -> Settings:
    """Return settings from the environment with the given options on top.

    Raises
    ------
    BadSettings : a value out of range
    """
    given = {name: getattr(args, name, None) for name in ("data", "database", "artefacts", "scheduler")}
    try:
        return Settings(**{k: v for k, v in {**given, **more}.items() if v is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadSettings(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
