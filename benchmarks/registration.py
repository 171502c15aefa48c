"""Registration against AROSICS, scikit-image and OpenCV on cases with exact truth; the table of ALGORITHMS A6.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/registration.py [--share 1] [--rivals PYTHON] [--dev]

Writes ``benchmarks/results/registration.json`` and the gate's reliability plot. Scenes are rendered or warped from the
real images of ``../shared/data/real`` where that folder is there. Rivals run in their own process and environment.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import itertools  # noqa: E402

import numpy as np  # noqa: E402
import scipy  # noqa: E402
from registration_cases import COUNTS, Case, World, cases, open_world  # noqa: E402
from scipy.stats import rankdata  # noqa: E402

from imagery.registration import ArrayRegistration, register_arrays  # noqa: E402

HERE = Path(__file__).parent
FINAL_SEED, DEV_SEED = 20261123, 101
FAILED_PX = 0.5
RIVALS = ("arosics_global", "arosics_local", "skimage_pcc", "ecc_translation", "ecc_affine", "sift", "akaze")
PRECISE = ("A", "Ci", "C", "D", "E", "F", "G", "I")
COUNTED = (*PRECISE, "B", "H", "J", "K", "L", "M", "M26", "P", "R", "S")


class RivalProcess:
    """The other tools behind a pipe."""

    def __init__(self, python: str) -> None:
        self.process = subprocess.Popen(
            [python, str(HERE / "registration_rivals.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.versions: dict[str, str] = json.loads(self._line())

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, method: str, case: Case) -> dict[str, Any]:
        """Return one tool's answer to one case."""
        buffer = io.BytesIO()
        np.savez(
            buffer, reference=case.reference, target=case.target, seen_r=case.seen_reference,
            seen_t=case.seen_target, max_shift=int(case.max_shift_px), method=method,
        )  # fmt: skip
        data = buffer.getvalue()
        assert self.process.stdin is not None
        self.process.stdin.write(len(data).to_bytes(8, "little") + data)
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer


def lattice(case: Case) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (400, 2) positions over a case's target."""
    axes = [np.linspace(0, n - 1, 20) for n in case.reference.shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def ours(case: Case) -> tuple[ArrayRegistration, float]:
    """Return our answer and the CPU seconds it took: one thread, so the same as wall time on a quiet core."""
    start = time.process_time()
    answer = register_arrays(
        case.reference, case.target, case.seen_reference, case.seen_target, max_shift_px=case.max_shift_px
    )
    return answer, time.process_time() - start


def mapped(answer: dict[str, Any], at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return a rival's displacement of target positions."""
    if answer["map"] is None:
        return None
    affine = np.array(answer["map"])
    try:
        inverse = np.linalg.inv(affine[:, :2])
    except np.linalg.LinAlgError:
        return None
    return (at - affine[:, 2]) @ inverse.T - at


def one(case: Case, rivals: RivalProcess | None) -> dict[str, Any]:
    """Run every tool on one case; errors are kept as fields until groups are known."""
    at = lattice(case)
    truth = None if case.truth is None else case.truth(at)
    answer, seconds = ours(case)
    row: dict[str, Any] = {
        "family": case.family, "name": case.name, "group": case.group, "floor_px": case.floor_px,
        "pixels": int(case.reference.size), "state": answer.state.value, "reasons": list(answer.reasons), "tools": {},
    }  # fmt: skip
    fields = {"ours": (answer.displacement_at(at), answer.quality, seconds)}
    if rivals is not None:
        for method in RIVALS:
            reply = rivals.ask(method, case)
            fields[method] = (mapped(reply, at), reply["quality"], reply["seconds"])
    for method, (field, quality, spent) in fields.items():
        off = None if field is None or truth is None else field - truth
        row["tools"][method] = {
            "off": off,
            "quality": float(quality),
            "seconds": spent,
            "answered": field is not None,
        }
    return row


def settle(rows: list[dict[str, Any]]) -> None:
    """Replace error fields by RMSE; grouped cases (real second dates) are scored against their group's median."""
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows:
        for method, tool in row["tools"].items():
            if row["group"] and tool["off"] is not None:
                groups[row["group"], method].append(tool["off"])
    for row in rows:
        for method, tool in row["tools"].items():
            off = tool.pop("off")
            if off is None:
                tool["error_px"] = None
                continue
            if row["group"]:
                off = off - np.median(groups[row["group"], method], axis=0)
            tool["error_px"] = float(np.sqrt(np.mean(np.sum(off**2, axis=1))))


def good(tool: dict[str, Any]) -> bool:
    """Tell whether an answer is there and within half a pixel."""
    return tool["error_px"] is not None and tool["error_px"] <= FAILED_PX


def auroc(rows: list[dict[str, Any]], method: str) -> float | None:
    """Return how well a tool's own quality ranks good answers over failed or unrelated ones."""
    tools = [(r["tools"][method], r["family"]) for r in rows if method in r["tools"]]
    quality = np.array([t["quality"] if t["answered"] else 0.0 for t, _ in tools])
    label = np.array([family != "U" and good(t) for t, family in tools])
    if label.all() or not label.any():
        return None
    ranks = rankdata(quality)
    ones, zeros = int(label.sum()), int((~label).sum())
    return float((ranks[label].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def family_table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return median, worst and failures per family and tool."""
    table: dict[str, Any] = {}
    for family in COUNTS:
        chosen = [r for r in rows if r["family"] == family]
        if not chosen or family == "U":
            continue
        entry: dict[str, Any] = {"n": len(chosen)}
        for method in ("ours", *RIVALS):
            tools = [r["tools"][method] for r in chosen if method in r["tools"]]
            if not tools:
                continue
            errors = [t["error_px"] if t["error_px"] is not None else np.inf for t in tools]
            median = float(np.median(errors))
            entry[method] = {
                "n": len(tools),
                "median_px": median if np.isfinite(median) else None,
                "p95_px": _finite(np.quantile(errors, 0.95, method="higher")),
                "failed": sum(not good(t) for t in tools),
            }
        table[family] = entry
    return table


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def targets(rows: list[dict[str, Any]], table: dict[str, Any]) -> dict[str, Any]:
    """Return the quantities of ALGORITHMS A6 and G1-G3 of TARGETS."""
    mine = [(r, r["tools"]["ours"]) for r in rows]
    precise = [t["error_px"] for r, t in mine if r["family"] in PRECISE]
    counted = [t for r, t in mine if r["family"] in COUNTED]
    noise = [t["error_px"] / r["floor_px"] for r, t in mine if r["family"] == "B"]
    unrelated = [r for r, _ in mine if r["family"] == "U"]
    hard = [t["error_px"] for r, t in mine if r["family"] in ("L", "P", "S", "M", "M26", "F", "E", "H")]
    registered = [(r["state"] != "not_registered", r["family"] != "U" and good(t)) for r, t in mine]
    bad = [accepted for accepted, fine in registered if not fine]
    fine = [accepted for accepted, fine in registered if fine]
    found: dict[str, Any] = {
        "precise_median_px": float(np.median(precise)),
        "precise_worst_family_px": max(table[f]["ours"]["median_px"] for f in PRECISE if f in table),
        "p_median_px": table["P"]["ours"]["median_px"],
        "p_failed": [table["P"]["ours"]["failed"], table["P"]["n"]],
        "l_median_px": table["L"]["ours"]["median_px"],
        "b_over_floor": float(np.median(noise)),
        "failed": [sum(not good(t) for t in counted), len(counted)],
        "auroc": {m: auroc(rows, m) for m in ("ours", *RIVALS) if any(m in r["tools"] for r in rows)},
        "unrelated_accepted": [sum(r["state"] != "not_registered" for r in unrelated), len(unrelated)],
        "bad_accepted": [sum(bad), len(bad)],
        "good_rejected": [sum(not f for f in fine), len(fine)],
        "g1_rmse_px": float(np.sqrt(np.mean(np.square(precise)))),
        "g2_hard_p95_px": float(np.quantile(hard, 0.95)),
        "g3_missed_failures": [sum(bad), len(mine)],
    }
    both = [r for r in rows if "arosics_local" in r["tools"] and r["family"] in PRECISE]
    ratios = [
        r["tools"]["ours"]["error_px"] / r["tools"]["arosics_local"]["error_px"]
        for r in both
        if r["tools"]["arosics_local"]["error_px"]
    ]
    if ratios:
        found["over_arosics_local"] = float(np.median(ratios))
    return found


def speeds(world: World, rivals: RivalProcess | None) -> dict[str, Any]:
    """Time every tool on a few whole scenes, median of three runs each, one core."""
    found: dict[str, list[float]] = defaultdict(list)
    chosen = list(cases(world, ("A",), 1.0))[:6]
    for case in chosen:
        found["ours"].append(float(np.median([ours(case)[1] for _ in range(3)])))
        for method in RIVALS if rivals is not None else ():
            assert rivals is not None
            found[method].append(float(np.median([rivals.ask(method, case)["seconds"] for _ in range(3)])))
    result: dict[str, Any] = {"pixels": [int(c.reference.size) for c in chosen]}
    result["seconds"] = {m: float(np.median(v)) for m, v in found.items()}
    result["times_faster"] = {
        m: float(np.median(np.array(v) / np.array(found["ours"]))) for m, v in found.items() if m != "ours"
    }
    return result


def large_scene_seconds() -> dict[str, float]:
    """Return our seconds on one square scene of 512, 1024 and 2048 px (rendered texture, 1.5 px off)."""
    from registration_cases import fractal

    found = {}
    for side in (512, 1024, 2048):
        texture = fractal(np.random.default_rng(side), (side + 8, side + 8), 1.6).astype(np.float32)
        seen = np.ones((side, side), bool)
        pair = (
            np.ascontiguousarray(texture[:side, :side]),
            np.ascontiguousarray(texture[2 : side + 2, 1 : side + 1]),
        )
        spent = []
        for _ in range(3):
            start = time.process_time()
            register_arrays(pair[0], pair[1], seen, seen, max_shift_px=40.0)
            spent.append(time.process_time() - start)
        found[str(side)] = float(np.median(spent))
    return found


def reliability(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return, per range of our quality, how many answers are good and their median error."""
    edges = [0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 4.0, 6.0, 8.0, 99.0]
    bins = []
    for low, high in itertools.pairwise(edges):
        chosen = [r for r in rows if low <= r["tools"]["ours"]["quality"] < high]
        related = [r["tools"]["ours"]["error_px"] for r in chosen if r["family"] != "U"]
        bins.append(
            {
                "low": low,
                "high": high,
                "n": len(chosen),
                "good": sum(r["family"] != "U" and good(r["tools"]["ours"]) for r in chosen),
                "median_px": float(np.median(related)) if related else float("nan"),
            }
        )
    return bins


def reliability_svg(bins: list[dict[str, float]]) -> str:
    """Draw share of good answers per quality range; a bar's number is how many cases it stands on."""
    width, height, left, bottom = 640, 300, 50, 46
    step = (width - left - 10) / len(bins)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = 20 + (1 - share) * (height - bottom - 20)
        parts.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for k, entry in enumerate(bins):
        share = entry["good"] / entry["n"] if entry["n"] else 0.0
        tall = share * (height - bottom - 20)
        x, y = left + k * step + 4, height - bottom - tall
        colour = "#b5524a" if entry["high"] <= 1.0 else "#d6a445" if entry["high"] <= 2.5 else "#4a7f5c"
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{step - 8:.1f}" height="{tall:.1f}" fill="{colour}"/>'
        )
        middle = x + (step - 8) / 2
        parts.append(f'<text x="{middle:.1f}" y="{y - 4:.1f}" text-anchor="middle">{entry["n"]}</text>')
        label = f"{entry['low']:g}-{entry['high']:g}" if entry["high"] < 50 else f"over {entry['low']:g}"
        parts.append(f'<text x="{middle:.1f}" y="{height - bottom + 16}" text-anchor="middle">{label}</text>')
    parts.append(
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">quality (red: not registered, yellow: wider '
        "tolerance, green: use); bar: share within 0.5 px, number: cases</text></svg>"
    )
    return "\n".join(parts)


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    tools = ["ours", *[m for m in RIVALS if any(m in e for e in result["families"].values())]]
    print("family  n   " + "  ".join(f"{m:>16}" for m in tools))
    for family, entry in result["families"].items():
        cells = []
        for method in tools:
            cell = entry.get(method)
            if cell is None:
                cells.append(f"{'':>16}")
                continue
            median = "none" if cell["median_px"] is None else f"{cell['median_px']:.3f}"
            cells.append(f"{median} ({cell['failed']}/{cell['n']})".rjust(16))
        print(f"{family:6} {entry['n']:4d} " + "  ".join(cells))
    for part in ("targets", "speed", "seconds_by_side"):
        print(json.dumps(result[part], indent=1))


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="length of every family")
    parser.add_argument("--rival-share", type=float, default=1.0, help="part of the cases the rivals see")
    parser.add_argument("--families", default=",".join(COUNTS))
    parser.add_argument("--rivals", default=str(HERE.parent / ".bench-venv/bin/python"))
    parser.add_argument(
        "--speed-only", action="store_true", help="measure speed again, keep the rest of --out"
    )
    parser.add_argument("--dev", action="store_true", help="the scenes and seed that tuning may see")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--real", type=Path, default=HERE.parent.parent / "shared/data/real")
    parser.add_argument("--out", type=Path, default=HERE / "results/registration.json")
    parser.add_argument("--figure", type=Path, default=HERE.parent / "docs/figures/registration-gate.svg")
    options = parser.parse_args()
    seed = options.seed or (DEV_SEED if options.dev else FINAL_SEED)
    world = open_world(options.real, seed, dev=options.dev)
    rivals = RivalProcess(options.rivals) if Path(options.rivals).exists() else None
    if options.speed_only:
        result = json.loads(options.out.read_text())
        result |= {"speed": speeds(world, rivals), "seconds_by_side": large_scene_seconds()}
        options.out.write_text(json.dumps(result, indent=1) + "\n")
        show(result)
        return
    rows = []
    seen: dict[str, int] = defaultdict(int)
    for case in cases(world, tuple(options.families.split(",")), options.share):
        limit = options.rival_share * COUNTS[case.family] * options.share
        rows.append(one(case, rivals if seen[case.family] < limit else None))
        seen[case.family] += 1
        print(f"\r{len(rows)} {case.name[:60]:60}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    settle(rows)
    table = family_table(rows)
    result = {
        "seed": seed,
        "scenes": [name for name, _ in world.surfaces],
        "pairs": [name for name, _, _ in world.pairs],
        "versions": {
            "python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__,
            "rivals": rivals.versions if rivals else {},
        },
        "families": table,
        "targets": targets(rows, table),
        "speed": speeds(world, rivals),
        "seconds_by_side": large_scene_seconds(),
        "reliability": reliability(rows),
        "cases": rows,
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    options.figure.write_text(reliability_svg(result["reliability"]) + "\n")
    show(result)


if __name__ == "__main__":
    main()
