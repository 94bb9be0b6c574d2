"""The script behind the stored critics: its brackets on a critic small enough to search, and its options."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax
from pgjax import problems
from studies.fitted_critics import brackets
from studies.fitted_critics import study as fit_critics

pytestmark = pytest.mark.deep  # it runs the study


@pytest.mark.parametrize("activation", [nn.relu, nn.tanh])
def test_brackets_hold_the_maximum_of_a_fine_grid(activation, key):
    module = pgjax.QNetwork((16, 16), activation)
    key_params, key_states = jax.random.split(key)
    params = jax.jit(module.init)(key_params, jnp.zeros(3), jnp.zeros(2))
    critic = problems.Critic(module, params, pgjax.Box(np.full(2, -1.0), np.full(2, 1.0)), {})
    states = 3 * np.asarray(jax.random.normal(key_states, (4, 3)))
    found = brackets.bracket(critic, states, np.zeros((4, 2)), 10)
    axis = np.linspace(-1, 1, 401)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    for i, state in enumerate(states):
        values = jax.jit(module.apply)(params, state, jnp.asarray(grid, jnp.float32))
        assert found.maximum[i] >= np.max(values) - 1e-5
        assert found.maximum[i] == pytest.approx(float(np.max(values)), abs=0.02)
    certified = brackets.certify(critic, found, 2**14)
    scale = found.maximum - found.record["uniform_mean"]
    assert np.all(certified.upper_bound - certified.maximum <= 1.01 * brackets.GAP * scale)
    assert np.all(certified.maximum >= found.maximum)
    record = found.record
    assert np.all(record["sobol_value"] <= found.maximum + 1e-5)
    assert np.all(record["adam_value"] <= record["lbfgs_value"])
    assert np.all(record["lbfgs_value"] <= found.maximum)


def test_certifying_raises_a_lower_end_that_is_too_low_and_keeps_what_it_does_not_improve(rng):
    critic, found = problems.load_critic("relu_2x32_late"), problems.load_brackets("relu_2x32_late")
    found = found._replace(**{name: getattr(found, name)[:2] for name in found._fields[:-1]})
    record = found.record | {"uniform_mean": found.record["uniform_mean"][:2]}
    action = rng.uniform(-1, 1, (2, 6))
    value = np.asarray(
        [brackets.layers_of(critic, s).value_and_grad(a)[0] for s, a in zip(found.states, action, strict=True)]
    )
    worse = found._replace(best_action=action, maximum=value, upper_bound=np.full(2, np.inf), record=record)
    first = brackets.certify(critic, worse, 2**13)
    assert np.all(first.maximum > value)
    assert np.all(first.maximum <= first.upper_bound)
    assert np.all(np.isfinite(first.upper_bound))
    assert np.all(first.upper_bound >= found.maximum)
    second = brackets.certify(critic, first._replace(upper_bound=first.maximum + 1e-6), 1024)
    np.testing.assert_array_equal(second.upper_bound, np.maximum(first.maximum + 1e-6, second.maximum))


def test_climbing_the_pieces_ends_at_a_local_maximum_to_rounding(rng):
    critic, found = problems.load_critic("relu_2x32_late"), problems.load_brackets("relu_2x32_late")
    for state in found.states[:4]:
        layers = brackets.layers_of(critic, state)
        best, value = brackets.climb_pieces(layers, rng.uniform(-1, 1, 6), critic.box)
        assert value == layers.value_and_grad(best)[0]
        near = best + 10.0 ** rng.uniform(-8, -3, (500, 1)) * rng.normal(size=(500, 6))
        assert max(layers.value_and_grad(action)[0] for action in np.clip(near, -1, 1)) <= value + 1e-12


def test_the_numpy_critic_is_the_flax_critic(rng):
    for name in ("relu_2x64_late", "tanh_2x64_late"):
        critic, found = problems.load_critic(name), problems.load_brackets(name)
        action = rng.uniform(-1, 1, 6)
        value, gradient = brackets.layers_of(critic, found.states[0]).value_and_grad(action)
        expected = jax.value_and_grad(lambda a, c=critic, s=found.states[0]: c.module.apply(c.params, s, a))
        expected_value, expected_gradient = expected(jnp.asarray(action, jnp.float32))
        assert value == pytest.approx(float(expected_value), abs=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4)


def test_samples_near_solutions_are_good_and_all_lie_in_the_box(key):
    draw = jax.jit(fit_critics.draw, static_argnums=(1, 2))
    near, uniform = draw(key, 1000, 1.0), draw(jax.random.clone(key), 1000, 0.0)
    assert jnp.all(jnp.abs(near.actions) <= 1)
    assert jnp.median(near.values) > 0.3 * jnp.median(uniform.values)
    assert jnp.all(near.values <= 0)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"activations": ("elu",)}, "--activations"),
        ({"widths": (48,)}, "--widths"),
        ({"widths": ()}, "--widths"),
        ({"num_steps": 49}, "--num-steps"),
        ({"stages": ("end",)}, "--stages"),
        ({"num_boxes": 100}, "--num-boxes"),
        ({"log2_samples": 30}, "--log2-samples"),
    ],
)
def test_bad_options_are_refused_by_name(options, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        fit_critics.Options(**options).check()


def test_a_file_for_a_folder_is_refused_by_name(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ValueError, match=r"^--output: "):
        fit_critics.Options(output=tmp_path / "taken").check()


@pytest.mark.parametrize("overwrite", [False, True])
def test_brackets_do_not_outlive_their_network(overwrite, tmp_path, monkeypatch):
    names = {stage: tmp_path / f"relu_2x32_{stage}" for stage in fit_critics.STAGE_FRACTIONS}

    def write(_, name):
        fit_critics.files_of(name)[1].write_text("brackets")

    def fit(options, activation, width):
        for name in names.values():
            fit_critics.files_of(name)[0].write_text("critic")

    monkeypatch.setattr(fit_critics, "fit", fit)
    monkeypatch.setattr(fit_critics, "bracket", write)
    options = fit_critics.Options(activations=("relu",), widths=(32,), output=tmp_path)
    fit_critics.run(options)
    assert len(list(tmp_path.iterdir())) == 6
    if not overwrite:
        fit_critics.files_of(names["late"])[0].unlink()  # as an interrupted run leaves it
    fit_critics.run(dataclasses.replace(options, overwrite=overwrite, stages=("early",)))
    left = {path.name for path in tmp_path.glob("*.brackets.msgpack")}
    assert left == {"relu_2x32_early.brackets.msgpack"}
    assert len(list(tmp_path.glob("*.critic.msgpack"))) == 3
