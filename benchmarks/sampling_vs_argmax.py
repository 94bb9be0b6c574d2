"""What does it cost to act: sample a policy, or search for argmax_a Q(s, a) over R^6?

    python benchmarks/sampling_vs_argmax.py [--full] [--problem six_joint_arm] [--batch-sizes 1 256] ...

Measures time per decision and regret of every method on whatever device JAX has, prints a table and one
sentence that answers, and writes a JSON with all of it and two figures beside it.
"""

import sys

from studies.common.command_line import main
from studies.sampling_vs_argmax.study import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
