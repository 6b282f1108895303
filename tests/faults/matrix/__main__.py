"""The long form: `python -m tests.faults.matrix [--seed N] [--minutes N]`. Prints seed and table; 1: a violation."""

import argparse
import secrets
import signal
import sys

from tests.faults.matrix.course import LONG, SHORT, run
from tests.faults.matrix.rig import MatrixError


def main() -> int:
    parser = argparse.ArgumentParser(description="Break the product on purpose, a few thousand times.")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--short", action="store_true", help="the form that `make test` runs")
    parser.add_argument(
        "--minutes", type=float, default=0, help="begin no row after so many; the table says how many were done"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that everything is ended
    print(f"seed {options.seed}", flush=True)
    try:
        totals = run(
            SHORT if options.short else LONG,
            options.seed,
            say=lambda line: print(line, flush=True),
            minutes_max=options.minutes,
        )
    except MatrixError as error:
        print(f"seed {options.seed}: {error}", flush=True)
        return 1
    for name, value in totals.items():
        print(f"{name:38}{value:>10}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
