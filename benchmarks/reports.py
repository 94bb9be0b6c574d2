"""Remake every figure, the tables of the documentation and the README's, from the committed results alone.

    python benchmarks/reports.py [RESULT.json ...]

With names of results, those of interrupted runs too: print their tables and write their figures beside them.
"""

import argparse
import sys
from pathlib import Path

from studies import reports


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, nargs="*", help="JSON written by a benchmark; default: the committed")
    paths = parser.parse_args().result
    try:
        reports.show(paths) if paths else reports.remake()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
