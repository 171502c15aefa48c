"""Class is told by colour: the colours stay apart for colour-blind readers, on the page and in the report, by day and night.

Dichromacy is simulated as Machado, Oliveira and Fernandes (2009), severity 1, do it: a matrix on linear sRGB.
Distances are CIEDE2000; 2 is just noticed side by side, 10 told at a glance.
"""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from pipelines.report.palette import COLOURS, FALLBACK

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "service" / "web" / "src" / "style.css").read_text("utf-8")
REPORT = (ROOT / "pipelines" / "report" / "report.css").read_text("utf-8")
SYMBOLS = (ROOT / "service" / "web" / "src" / "symbols.ts").read_text("utf-8")
CLASSES = ("container", "berm", "other")
APART = 14.0
GRAPHIC_CONTRAST = 3.0  # WCAG 2.2, success criterion 1.4.11
READERS = {
    "all cones": np.eye(3),
    "no red cones": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green cones": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "no blue cones": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(colour: str) -> np.ndarray:
    """Linear sRGB of ``#rgb`` or ``#rrggbb``, shape (3,), 0-1."""
    digits = colour.removeprefix("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    value = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def seen(colour: str, reader: np.ndarray) -> np.ndarray:
    """CIE Lab of a colour as a reader sees it, shape (3,)."""
    value = np.clip(reader @ linear(colour), 0, 1)
    encoded = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(encoded[None, None])[0, 0])


def contrast(one: str, two: str) -> float:
    """Contrast ratio of WCAG 2."""
    dark, light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, two))
    return (light + 0.05) / (dark + 0.05)


def variables(css: str, start: int) -> dict[str, str]:
    """The colours that a rule sets, by name."""
    rule = css[css.index("{", css.index(":root", start)) : css.index("}", css.index(":root", start))]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", rule))


SCHEMES = {
    f"{name}, {scheme}": variables(css, css.index("prefers-color-scheme: dark") if scheme == "dark" else 0)
    for name, css in (("page", PAGE), ("report", REPORT))
    for scheme in ("light", "dark")
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_classes_are_apart_for_every_reader(scheme: str, reader: str) -> None:
    colours = SCHEMES[scheme]
    for one, two in combinations((*CLASSES, "unknown"), 2):
        far = float(
            deltaE_ciede2000(seen(colours[one], READERS[reader]), seen(colours[two], READERS[reader]))
        )
        assert far >= APART, f"{one} and {two} are {far:.1f} apart"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_classes_stand_out_from_what_they_lie_on(scheme: str) -> None:
    colours = SCHEMES[scheme]
    for ground in ("paper", "panel"):
        for name in CLASSES:
            assert contrast(colours[name], colours[ground]) >= GRAPHIC_CONTRAST, (name, ground)


def test_maps_tables_and_files_use_the_same_colours() -> None:
    drawn = dict(re.findall(r'(\w+): "(#[0-9a-f]{6})"', SYMBOLS[: SYMBOLS.index("FALLBACK")]))
    light = SCHEMES["page, light"]
    assert drawn == {str(kind): colour for kind, colour in COLOURS.items()}
    assert all(light[name] == drawn[name] == SCHEMES["report, light"][name] for name in CLASSES)
    assert FALLBACK in SYMBOLS
