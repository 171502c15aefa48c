"""``make run-real``: analyse the real Sentinel-2 pairs where they lie and print what was found.

A static STAC catalog of links is written beside the reports; no pixel is copied into the project.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.real_catalog import write_catalogs
from imagery.errors import DepotwatchError
from pipelines.aoi import read_aoi
from pipelines.site import analyse
from service.summary import summary_lines


def main() -> int:
    """Analyse every pair; one that fails is named and does not stop the rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder that holds oscd_train_cities")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if not (args.source / "oscd_train_cities").is_dir():
        print(
            f"run-real: {args.source} holds no oscd_train_cities; the real imagery is not here, nothing to do"
        )
        return 0
    failed = 0
    for entry in write_catalogs(args.source, args.out / "catalogs", "oscd"):
        out = args.out / entry.name
        try:
            analysis = analyse(catalog=str(entry.catalog), site=read_aoi(entry.aoi), out=out)
        except DepotwatchError as error:
            print(f"{entry.name}: {error.code}: {error.detail}", file=sys.stderr)
            failed += 1
            continue
        print("\n".join(summary_lines(analysis, out)) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
