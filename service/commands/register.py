"""``depotwatch register``: where one raster lies against another."""

import argparse
import json

SUMMARY = (
    "Measure how a target raster lies against a reference: state, quality, displacement, residual. The displacement is what "
    "must be added to the target's coordinates to bring it onto the reference. 'not_registered' is a result, not an error."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--reference", required=True, metavar="A.tif", help="raster that stays where it is")
    parser.add_argument("--target", required=True, metavar="B.tif", help="raster to be registered")
    parser.add_argument("--mask-reference", metavar="M.tif", help="not 0 where the reference must not count")
    parser.add_argument("--mask-target", metavar="M.tif", help="not 0 where the target must not count")
    parser.add_argument(
        "--max-shift",
        type=float,
        metavar="M",
        help="largest shift to look for on either axis, metres; pixels where the files have no CRS "
        "(default: 30 m or 16 pixels, whichever is more; 64 pixels without CRS)",
    )
    parser.add_argument(
        "--out", metavar="R.tif", help="write the target on the reference's grid, interpolated once"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Register, print, return 0 also where the answer is 'not registered'."""
    from pipelines.register import register_files

    answer = register_files(
        args.reference,
        args.target,
        mask_reference=args.mask_reference,
        mask_target=args.mask_target,
        max_shift=args.max_shift,
        out=args.out,
    ).to_json()
    if args.json:
        print(json.dumps(answer, indent=2, allow_nan=False))
        return 0
    for line in _lines(answer):
        print(line)
    return 0


def _lines(answer: dict[str, object]) -> list[str]:
    """Say the same for a person."""
    displacement = answer["displacement"]
    assert isinstance(displacement, dict)
    quality = answer["quality"]
    lines = [
        f"{answer['state']} (quality {quality:.2f})" if isinstance(quality, float) else f"{answer['state']}"
    ]
    if displacement["row_px"] is not None:
        if displacement["east_m"] is not None:
            lines.append(
                f"displacement to add: {displacement['east_m']:+.3f} m east, {displacement['north_m']:+.3f} m north"
            )
        lines.append(
            f"in reference pixels: {displacement['row_px']:+.3f} rows, {displacement['col_px']:+.3f} columns"
        )
        if any(abs(v) > 0 for pair in displacement["linear"] for v in pair):
            lines.append(f"with rotation and scale: {displacement['linear']}")
        if displacement["field"] is not None:
            lines.append("with a local field (see --json)")
    if answer["residual_px"] is not None:
        metres = f"{answer['residual_m']:.3f} m, " if answer["residual_m"] is not None else ""
        lines.append(
            f"residual: {metres}{answer['residual_px']:.3f} reference pixels over {answer['windows_used']} windows"
        )
    for name in ("reasons", "notes"):
        entries = answer[name]
        if isinstance(entries, list) and entries:
            lines.append(f"{name}: {'; '.join(map(str, entries))}")
    if answer["out"]:
        lines.append(f"written: {answer['out']}")
    return lines
