"""Problems: Q(s, .) over a box with a known maximum, to judge maximizers by."""

from pgjax.problems.arm import forward_kinematics, six_joint_arm
from pgjax.problems.base import Problem
from pgjax.problems.quadratic import box_quadratic_maximum, quadratic

__all__ = ["Problem", "box_quadratic_maximum", "forward_kinematics", "quadratic", "six_joint_arm"]
