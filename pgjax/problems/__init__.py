"""Problems: Q(s, .) over a box with a known or bracketed maximum, to judge maximizers by."""

from pgjax.problems.arm import forward_kinematics, six_joint_arm
from pgjax.problems.base import Problem
from pgjax.problems.planted_peaks import planted_peaks
from pgjax.problems.quadratic import box_quadratic_maximum, quadratic
from pgjax.problems.separable import separable

__all__ = [
    "Problem",
    "box_quadratic_maximum",
    "forward_kinematics",
    "planted_peaks",
    "quadratic",
    "separable",
    "six_joint_arm",
]
