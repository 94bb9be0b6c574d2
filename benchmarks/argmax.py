"""Which maximizer finds argmax_a Q(s, a) best, and within which time?

    python benchmarks/argmax.py [--full] [--problem six_joint_arm] [--batch-sizes 1 256] [--budgets 512 4096] ...

Runs every maximizer with published or default settings and with tuned ones at each budget, on problems
whose maximum is known or bracketed. Writes a JSON with a row for each (problem, method, batch size), tables, a
sentence for each deadline, and figures. The tuned settings come from `argmax_tuning.py`.
"""

import os
import sys

# Before NumPy loads: on vectors of six numbers OpenBLAS's threads wait for one another, and SciPy takes
# many times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from studies.argmax.study import STUDY
from studies.common.command_line import main

if __name__ == "__main__":
    sys.exit(main(STUDY))
