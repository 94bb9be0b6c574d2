"""What does a critic whose maximum is built in give up in fit, and save in time?

    python benchmarks/built_in.py [--steps 1500] [--hidden-sizes 64 64] [--batch-sizes 1 256 4096] ...

Fits the critics of `pgjax.critics` and a plain `QNetwork` to the six-joint arm's Q, acts greedily on each, and
judges the actions by the true Q. Writes a JSON and prints a table.
"""

import sys

from studies.built_in.study import STUDY
from studies.common.command_line import main

if __name__ == "__main__":
    sys.exit(main(STUDY))
