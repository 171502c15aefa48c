"""Draw ``learning.csv`` of a run as an SVG: ``python -m training.curve RUN/learning.csv docs/presence-learning.svg``."""

import argparse
import csv
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 320, 50, 40
LINES = {"dice_container": "#c0392b", "dice_berm": "#1e8449", "dice_other": "#2e5fa3"}


def draw(rows: list[dict[str, str]]) -> str:
    """Return the SVG: dice error of each class against training steps."""
    last = max(float(r["step"]) for r in rows)

    def at(step: float, error: float) -> str:
        x = LEFT + step / last * (WIDTH - LEFT - 20)
        return f"{x:.1f},{HEIGHT - BOTTOM - error * (HEIGHT - BOTTOM - 15):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for k in range(0, 11, 2):
        x, y = at(0, k / 10).split(",")
        parts.append(
            f'<path d="M{x} {y}H{WIDTH - 20}" stroke="#ddd"/><text x="20" y="{float(y) + 4:.1f}">{k / 10}</text>'
        )
    for number, (name, colour) in enumerate(LINES.items()):
        points = " ".join(at(float(r["step"]), float(r[name])) for r in rows)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        parts.append(
            f'<text x="{LEFT + 150 * number + 120}" y="24" fill="{colour}">{name.replace("_", " error, ")}</text>'
        )
    parts.append(
        f'<text x="{LEFT}" y="{HEIGHT - 12}">training steps, 0 to {last:.0f}; dice error on disturbed crops</text></svg>'
    )
    return "\n".join(parts) + "\n"


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curve", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with args.curve.open() as file:
        args.out.write_text(draw(list(csv.DictReader(file))))


if __name__ == "__main__":
    main()
