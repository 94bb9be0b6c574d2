"""How long does a proof take: branch and bound on fitted critics, over boxes of several sizes.

    python benchmarks/certified.py [--time-limit-s 60] [--critics relu_2x32_late ...] [--half-widths 1 0.4 0.1]

Writes a JSON with checkpoints of value and certified upper bound, and a figure of the gap against time beside it.
"""

import sys

from studies.certified.study import STUDY
from studies.common.command_line import main

if __name__ == "__main__":
    sys.exit(main(STUDY))
