"""Choose each maximizer's settings for each budget, on problems and states that no report uses.

    python benchmarks/argmax_tuning.py [--families CEM L-BFGS] [--budgets 512] [--problems six_joint_arm] ...

Writes a JSON with every try; `argmax.py` reads the choices from it.
"""

import sys

from studies.argmax.tuning import STUDY
from studies.common.command_line import main

if __name__ == "__main__":
    sys.exit(main(STUDY))
