"""``depotwatch serve`` ends as it should: with its workers, and with their work given back."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.support import environment_of, make_settings

COMMAND = [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_after_its_workers(how: signal.Signals, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--workers", "1"],
            env=environment_of(settings), stdout=subprocess.PIPE, stderr=sink, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(how)
        assert process.wait(60) == (0 if how == signal.SIGTERM else 130)
        process.stdout.close()
    # Nobody is left to write after the process has gone.
    assert "parent-gone" not in log.read_text()
