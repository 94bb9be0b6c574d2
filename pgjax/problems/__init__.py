"""Problems: Q(s, .) over a box with a known or bracketed maximum, to judge maximizers by."""

from pgjax.problems.arm import forward_kinematics, six_joint_arm
from pgjax.problems.arm_step import six_joint_arm_step
from pgjax.problems.base import Problem
from pgjax.problems.critics import (
    Brackets,
    Critic,
    critic_problem,
    fitted_critic,
    load_brackets,
    load_critic,
    save_brackets,
    save_critic,
)
from pgjax.problems.planted_peaks import planted_peaks
from pgjax.problems.quadratic import box_quadratic_maximum, quadratic
from pgjax.problems.separable import separable

__all__ = [
    "Brackets",
    "Critic",
    "Problem",
    "box_quadratic_maximum",
    "critic_problem",
    "fitted_critic",
    "forward_kinematics",
    "load_brackets",
    "load_critic",
    "planted_peaks",
    "quadratic",
    "save_brackets",
    "save_critic",
    "separable",
    "six_joint_arm",
    "six_joint_arm_step",
]
