"""What an analysis holds on to: only while it runs, however many run beside each other."""

import gc
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from imagery.rasters import open_raster
from pipelines.working_memory import WorkingMemory


def keeps(memory: WorkingMemory, path: Path) -> bool:
    """Tell whether a second read is answered without the file."""
    window = Window(0, 0, 8, 8)
    with open_raster(path) as file:
        memory.pixels.read(file, str(path), [1], window, [1])
    with open_raster(path) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(file), "read", lambda *_, **__: np.zeros(0))
        return memory.pixels.read(file, str(path), [1], window, [1]).size > 0


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pixels_are_kept_until_the_last_of_several_analyses_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", height=8, width=8, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 8, 8), np.uint8))
    memory = WorkingMemory()
    assert not keeps(memory, path)
    with memory:
        with memory:
            assert keeps(memory, path)
        assert keeps(memory, path)
    assert not keeps(memory, path)
    with pytest.raises(ZeroDivisionError), memory:
        _ = 1 / 0
    assert not keeps(memory, path)


def test_what_was_there_before_is_not_searched_for_cycles_until_the_last_one_ends() -> None:
    memory = WorkingMemory()
    assert gc.get_freeze_count() == 0
    with memory:
        with memory:
            assert gc.get_freeze_count() > 0
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
