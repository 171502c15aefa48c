"""docs/errors.md lists every code that any module can raise, and none that does not exist."""

import importlib
import pkgutil
import re
from pathlib import Path

import imagery
import pipelines
import service
from imagery.errors import DepotwatchError

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


def _classes() -> set[type[DepotwatchError]]:
    for package in (imagery, pipelines, service):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if ".migrations" not in module.name:
                importlib.import_module(module.name)
    found: set[type[DepotwatchError]] = set()
    waiting = [DepotwatchError]
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child.__module__.split(".")[0] in {"imagery", "pipelines", "service"} and child not in found:
                found.add(child)
                waiting.append(child)
    return found


def test_the_errors_page_names_exactly_the_codes_that_exist() -> None:
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text("utf-8"), flags=re.MULTILINE))
    assert listed == {error.code for error in _classes()}


def test_every_error_says_in_its_docstring_what_it_means() -> None:
    assert not [error for error in _classes() if not (error.__doc__ or "").strip()]
