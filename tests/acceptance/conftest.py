"""A small rendered site as a user would have it, rendered once per run."""

import shutil
from pathlib import Path

import pytest

from imagery.simulation import Sensor, SeriesOptions
from pipelines.simulate import write_series

SMALL = SeriesOptions(extent_m=120.0, looks=4, clouds=0.1, sensor=Sensor(0.5), geolocation_m=1.0, snow=0.0)


@pytest.fixture(scope="session")
def rendered_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of four looks of 120 m at 0.5 m; read only."""
    folder = tmp_path_factory.mktemp("rendered") / "site"
    write_series(5, SMALL, folder, "test")
    return folder


@pytest.fixture
def own_site(rendered_site: Path, tmp_path: Path) -> Path:
    """Return a copy of the rendered site that a test may damage."""
    return Path(shutil.copytree(rendered_site, tmp_path / "site"))
