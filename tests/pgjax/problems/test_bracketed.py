"""Problems whose maxima are bracketed: one move of the arm, and stored critics."""

import itertools
import math
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import pgjax
from pgjax import problems
from pgjax.problems import critics
from pgjax.problems.arm import tool_pose, tool_pose_jacobian
from tests.deep import deep
from tests.pgjax.problems.exact import in_float64

DATA = Path(critics.__file__).parent / "data"
KINDS = itertools.product(critics.ACTIVATIONS, critics.WIDTHS, critics.STAGES)
NAMES = [critics.fitted_critic_name(*kind) for kind in KINDS]


def check_brackets(problem, rng):
    """The best action attains the maximum inside the box, and no sampled action exceeds it."""
    box, size = problem.box, problem.best_action.shape
    assert problem.maximum.dtype == problem.best_action.dtype == problem.upper_bound.dtype == np.float64
    assert np.all((problem.best_action >= box.low) & (problem.best_action <= box.high))
    assert np.all(problem.upper_bound >= problem.maximum)
    uniform = rng.uniform(box.low, box.high, (size[0], 1024, size[1]))
    width = 10.0 ** rng.uniform(-6, 0, (size[0], 1024, 1)) * (box.high - box.low)
    near = np.clip(problem.best_action[:, None] + width * rng.normal(size=uniform.shape), box.low, box.high)
    values = in_float64(problem, np.concatenate([problem.best_action[:, None], uniform, near], axis=1))
    np.testing.assert_allclose(values[:, 0], problem.maximum, rtol=1e-12, atol=1e-13)
    assert np.all(values <= problem.maximum[:, None] + 1e-10)


@pytest.mark.parametrize("reach_rad", [0.02, deep(0.3)])
def test_the_arms_move_is_bracketed(reach_rad, rng, key):
    problem = problems.six_joint_arm_step(key, 8, reach_rad=reach_rad)
    check_brackets(problem, rng)
    unmoved = jax.jit(jax.vmap(problem.objective))(problem.states, jnp.zeros((8, 6)))
    assert np.all(problem.maximum > unmoved)
    assert 0.3 < np.mean(np.abs(problem.best_action) >= reach_rad) < 0.95
    if reach_rad == 0.02:
        assert np.median((problem.upper_bound - problem.maximum) / (problem.maximum - unmoved)) < 0.2


def test_local_searches_of_scipy_find_no_better_move(rng, key):
    problem = problems.six_joint_arm_step(key, 8, reach_rad=0.2)
    weight = np.sqrt([1.0] * 3 + [0.05] * 9)
    for state, maximum, best in zip(np.asarray(problem.states, np.float64), *problem[3:5], strict=True):
        for start in (0.999 * best, *rng.uniform(-0.2, 0.2, (4, 6))):
            found = optimize.least_squares(
                lambda a, s=state: weight * (tool_pose(s[12:] + a, "ur5e") - s[:12]), start,
                bounds=(-0.2, 0.2), xtol=1e-14, ftol=1e-14, gtol=1e-14,
            )  # fmt: skip
            assert -2 * found.cost <= maximum + 1e-10


def test_the_arms_move_is_the_arm_from_other_angles(key):
    key_step, key_arm = jax.random.split(key)
    step, arm = problems.six_joint_arm_step(key_step, 3), problems.six_joint_arm(key_arm, 3)
    moved = jax.jit(jax.vmap(step.objective))(step.states, 0.1 * jnp.ones((3, 6)))
    direct = jax.jit(arm.objective)(step.states[:, :12], step.states[:, 12:] + 0.1)
    np.testing.assert_allclose(moved, direct, rtol=1e-6)


def test_the_jacobian_of_the_pose_is_its_derivative(rng):
    angles_rad, h = rng.uniform(-np.pi, np.pi, (5, 1, 6)), 1e-6
    differences = tool_pose(angles_rad + h * np.eye(6), "ur5e") - tool_pose(angles_rad - h * np.eye(6), "ur5e")
    given = tool_pose_jacobian(angles_rad[:, 0], "ur5e")
    np.testing.assert_allclose(given, np.swapaxes(differences, 1, 2) / (2 * h), atol=1e-9)


def test_every_fitted_critic_comes_with_brackets():
    assert sorted(path.name for path in DATA.glob("*.msgpack")) == sorted(
        f"{name}{ending}" for name in NAMES for ending in (".critic.msgpack", ".brackets.msgpack")
    )
    assert sum(path.stat().st_size for path in DATA.iterdir()) <= 5e6
    for name in NAMES:
        brackets, record = problems.load_brackets(name), problems.load_critic(name).record
        assert brackets.states.shape == (64, 12)
        assert np.all(np.abs(brackets.best_action) <= 1)
        assert np.all(brackets.upper_bound >= brackets.maximum)
        assert np.all(brackets.maximum >= brackets.record["sobol_value"] - 1e-5)
        assert 0.05 < record["r2_training"] < 1


def test_later_and_wider_critics_fit_better():
    r2 = {name: problems.load_critic(name).record["r2_training"] for name in NAMES}
    for activation in critics.ACTIVATIONS:
        for width in critics.WIDTHS:
            early, middle, late = (r2[f"{activation}_2x{width}_{stage}"] for stage in critics.STAGES)
            assert early < middle < late
        widest_first = [r2[f"{activation}_2x{width}_late"] for width in reversed(critics.WIDTHS)]
        assert widest_first == sorted(widest_first, reverse=True)


@pytest.mark.parametrize("settings", [("relu", 32, "early"), ("tanh", 64, "late"), deep(("relu", 256, "late"))])
def test_a_fitted_critics_maximum_is_attained_and_not_exceeded(settings, rng):
    activation, width, stage = settings
    check_brackets(problems.fitted_critic(activation=activation, width=width, stage=stage, num_states=8), rng)


def test_a_maximizer_comes_near_the_brackets_but_not_above(key):
    problem = problems.fitted_critic(width=32, num_states=16)
    search = pgjax.maximizers.gradient_ascent(num_starts=8)
    best = pgjax.maximize_batch(key, problem.objective, problem.states, problem.box, search, num_steps=50)
    regret = problem.maximum - in_float64(problem, np.asarray(best.action, np.float64)[:, None])[:, 0]
    assert np.all(regret > -1e-6)
    assert np.median(regret) < 0.05


def test_fitted_critics_know_good_actions_from_bad(key):
    problem = problems.fitted_critic(width=256, stage="late")
    center_spread = [problems.load_critic("relu_2x256_late").record[name] for name in ("center", "spread")]
    key_arm, key_samples = jax.random.split(key)
    arm = problems.six_joint_arm(key_arm, 1)
    samples = jax.random.uniform(key_samples, (64, 6), minval=-1.0)
    given = jax.jit(jax.vmap(problem.objective))(problem.states, samples)
    true = (arm.objective(problem.states, samples * math.pi) - center_spread[0]) / center_spread[1]
    assert np.corrcoef(given, true)[0, 1] > 0.9


def test_values_have_the_dtype_of_the_arguments():
    problem = problems.fitted_critic(activation="tanh", width=32, num_states=2)
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            states, actions = jnp.asarray(problem.states, dtype), jnp.asarray(problem.best_action, dtype)
            value, gradient = jax.jit(jax.vmap(jax.value_and_grad(problem.objective, argnums=1)))(states, actions)
            assert value.dtype == gradient.dtype == dtype
            assert jnp.all(jnp.isfinite(gradient))


def test_any_critic_can_be_stored_and_loaded(tmp_path, key):
    module = pgjax.QNetwork((8, 4, 4), nn.tanh)
    params = jax.jit(module.init)(key, jnp.zeros(3), jnp.zeros(2))
    critic = problems.Critic(module, params, pgjax.Box([-2.0, 0.0], [1.0, 5.0]), {"algorithm": "td3", "steps": 3})
    problems.save_critic(tmp_path / "mine", critic)
    loaded = problems.load_critic(tmp_path / "mine")
    assert (loaded.module, loaded.box, loaded.record) == (module, critic.box, critic.record)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params)
    with pytest.raises(ValueError, match=r"^name "):
        problems.critic_problem(tmp_path / "mine")
    brackets = problems.Brackets(
        np.zeros((2, 3), np.float32), np.zeros(2), np.zeros((2, 2)), np.full(2, np.inf), {}
    )
    problems.save_brackets(tmp_path / "mine", brackets)
    problem = problems.critic_problem(tmp_path / "mine", 1)
    np.testing.assert_array_equal(problem.upper_bound, [np.inf])
    expected = module.apply(params, problem.states[0], jnp.ones(2))
    np.testing.assert_allclose(problem.objective(problem.states[0], jnp.ones(2)), expected, rtol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.critic.msgpack", "mine.brackets.msgpack"}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda k: problems.six_joint_arm_step(k, 0), "num_states"),
        (lambda k: problems.six_joint_arm_step(k, reach_rad=0.0), "reach_rad"),
        (lambda k: problems.six_joint_arm_step(k, orientation_weight_m2=-1.0), "orientation_weight_m2"),
        (lambda k: problems.six_joint_arm_step(k, robot="ur10"), "robot"),
        (lambda k: problems.fitted_critic(activation="elu"), "activation"),
        (lambda k: problems.fitted_critic(width=48), "width"),
        (lambda k: problems.fitted_critic(stage="best"), "stage"),
        (lambda k: problems.fitted_critic(num_states=65), "num_states"),
        (lambda k: problems.fitted_critic(num_states=0), "num_states"),
        (lambda k: problems.load_critic("relu_2x64"), "name"),
        (
            lambda k: problems.save_critic("no", problems.Critic(pgjax.QNetwork((4,), nn.elu), {}, None, {})),
            "critic",
        ),
    ],
)
def test_bad_settings_are_refused_by_name(call, name, key):
    with pytest.raises(ValueError, match=f"^{name} "):
        call(key)
