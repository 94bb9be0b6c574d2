"""Fit critics Q(s, a) to the six-joint arm, and bracket their maxima: remakes pgjax/problems/data.

    python benchmarks/fit_critics.py [--activations relu] [--widths 32 64] [--overwrite] ...

Files that exist are kept, so an interrupted run goes on where it stopped.
"""

import os
import sys

# Before NumPy loads: threads only slow down the products of one row that the local searches consist of.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from studies.fitted_critics.study import main

if __name__ == "__main__":
    sys.exit(main())
