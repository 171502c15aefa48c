"""``make bench``: every benchmark in turn, short, then the pages made from what they wrote.

``python -m benchmarks --full`` runs them at the length behind the published pages (hours on two cores).
"""

import argparse
import subprocess
import sys

SHORT = (
    ("benchmarks.throughput", "--rounds", "1"),
    ("benchmarks.detection", "--sites", "1"),
    ("benchmarks.registration", "--share", "0.1", "--rival-share", "0.2"),
    ("benchmarks.service",),
)
FULL = (
    ("benchmarks.throughput",),
    ("benchmarks.scaling",),
    ("benchmarks.detection", "--real", "../shared/data/real"),
    ("benchmarks.registration", "--share", "1.6", "--rival-share", "0.45"),
    ("benchmarks.service", "--out", "benchmarks/results/service.json"),
)
PAGES = (
    ("benchmarks.detection_docs",),
    ("benchmarks.registration_docs",),
    ("benchmarks.throughput_docs",),
    ("benchmarks.service_docs",),
)


def main() -> int:
    """Run them all; say at the end which failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="at full length")
    parser.add_argument("--pages", action="store_true", help="write the pages in docs/ from the results")
    args = parser.parse_args()
    commands = (FULL if args.full else SHORT) + (PAGES if args.pages else ())
    failed = []
    for command in commands:
        print(f"== {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            failed.append(command[0])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
