"""Every claim of the textbook chapter "Why learn policies directly?", measured with its conditions.

    python benchmarks/claims.py [--claim c] [--num-seeds 32] [--output results/claims.json]

Prints a table for each claim: condition, measured value with interval, exact value, verdict; writes a JSON with
the raw values of every seed, and a figure for each claim beside it.
"""

import sys

from studies.claims.study import STUDY
from studies.common.command_line import main

if __name__ == "__main__":
    sys.exit(main(STUDY))
