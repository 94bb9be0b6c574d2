"""Returns and advantages against sums written out, over every mix of terminated, truncated and padded steps."""

import functools
from collections.abc import Callable

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pgjax import returns

T = 12
DISCOUNT, LAMBDA, NUM_STEPS = 0.9, 0.7, 4
reals = hnp.arrays(np.float32, T, elements=st.floats(-10, 10, width=32))
flags = hnp.arrays(bool, T, elements=st.booleans())
rates = st.floats(0, 1, width=32)
FUNCTIONS: dict[str, Callable] = {
    "discounted": lambda r, v, w, term, trunc, **kwargs: returns.discounted_returns(
        r, term, trunc, w, discount=DISCOUNT, **kwargs
    ),
    "lambda": lambda r, v, w, term, trunc, **kwargs: returns.lambda_returns(
        r, w, term, trunc, discount=DISCOUNT, lambda_=LAMBDA, **kwargs
    ),
    "n_step": lambda r, v, w, term, trunc, **kwargs: returns.n_step_returns(
        r, w, term, trunc, discount=DISCOUNT, num_steps=NUM_STEPS, **kwargs
    ),
    "gae": lambda r, v, w, term, trunc, **kwargs: returns.gae(
        r, v, w, term, trunc, discount=DISCOUNT, lambda_=LAMBDA, **kwargs
    ),
}
compiled_gae = jax.jit(
    lambda r, v, w, term, trunc, discount, lambda_: returns.gae(
        r, v, w, term, trunc, discount=discount, lambda_=lambda_
    )
)


def written_out(rewards, next_values, terminated, truncated, discount, num_steps):
    """The return of up to `num_steps` steps from each step, by its definition: O(T^2), float64."""
    result = np.zeros(len(rewards))
    for t in range(len(rewards)):
        for k in range(num_steps):
            result[t] += discount**k * rewards[t + k]
            last = t + k == len(rewards) - 1 or k == num_steps - 1
            if terminated[t + k]:
                break
            if truncated[t + k] or last:
                result[t] += discount ** (k + 1) * next_values[t + k]
                break
    return result


def lambda_return(rewards, next_values, terminated, truncated, discount, lambda_):
    """(1 - lambda) sum_n lambda^(n-1) G^(n), the last number of steps getting all the weight that is left."""
    num_steps = len(rewards)
    n_step = [
        written_out(rewards, next_values, terminated, truncated, discount, n) for n in range(1, num_steps + 1)
    ]
    weights = [(1 - lambda_) * lambda_**n for n in range(num_steps - 1)] + [lambda_ ** (num_steps - 1)]
    return np.einsum("n,nt->t", weights, n_step)


def summed_deltas(rewards, values, next_values, terminated, truncated, discount, lambda_):
    """Sum (gamma lambda)^k delta_{t+k} up to the first end, by the definition: O(T^2), float64."""
    result = np.zeros(len(rewards))
    for t in range(len(rewards)):
        for k in range(len(rewards) - t):
            following = 0 if terminated[t + k] else next_values[t + k]
            delta = rewards[t + k] + discount * following - values[t + k]
            result[t] += (discount * lambda_) ** k * delta
            if terminated[t + k] or truncated[t + k]:
                break
    return result


def agreeing(values, next_values, terminated, truncated):
    """The next values, with V(s_{t+1}) the same number as values[t + 1] wherever the episode goes on."""
    inside = ~np.asarray(terminated | truncated)[..., :-1]
    following = np.where(inside, values[..., 1:], next_values[..., :-1])
    return np.append(following, next_values[..., -1:], axis=-1)


def random_trajectories(rng, num=200):
    """Many trajectories with all mixes of flags."""
    rewards, values, next_values = (rng.normal(size=(num, T)).astype(np.float32) for _ in range(3))
    terminated, truncated = (rng.random((num, T)) < rng.choice([0, 0.2, 0.6], (num, 1)) for _ in range(2))
    return rewards, values, agreeing(values, next_values, terminated, truncated), terminated, truncated


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_mix_of_ends_equals_the_sums_written_out(name, rng):
    batch = random_trajectories(rng)
    given = jax.jit(jax.vmap(FUNCTIONS[name]))(*batch)
    for row, (r, v, w, term, trunc) in enumerate(zip(*map(np.float64, batch), strict=True)):
        expected = {
            "discounted": lambda: written_out(r, w, term, trunc, DISCOUNT, T),  # noqa: B023
            "lambda": lambda: lambda_return(r, w, term, trunc, DISCOUNT, LAMBDA),  # noqa: B023
            "n_step": lambda: written_out(r, w, term, trunc, DISCOUNT, NUM_STEPS),  # noqa: B023
            "gae": lambda: summed_deltas(r, v, w, term, trunc, DISCOUNT, LAMBDA),  # noqa: B023
        }[name]()
        np.testing.assert_allclose(given[row], expected, rtol=1e-5, atol=1e-5)


@hypothesis.given(reals, reals, reals, flags, flags, rates)
@hypothesis.settings(max_examples=50)
def test_gae_between_its_two_ends(rewards, values, next_values, terminated, truncated, discount):
    next_values = agreeing(values, next_values, terminated, truncated)
    ends = (rewards, values, next_values, terminated, truncated, np.float32(discount))
    monte_carlo = returns.discounted_returns(rewards, terminated, truncated, next_values, discount=discount)
    np.testing.assert_allclose(compiled_gae(*ends, np.float32(1)), monte_carlo - values, rtol=1e-4, atol=1e-3)
    td_errors = rewards + discount * np.where(terminated, 0, next_values) - values
    np.testing.assert_allclose(compiled_gae(*ends, np.float32(0)), td_errors, rtol=1e-4, atol=1e-4)


@hypothesis.given(reals, reals, reals, flags, flags, rates, rates)
@hypothesis.settings(max_examples=50)
def test_gae_is_linear_in_lambda_returns_and_cuts_at_every_end(
    rewards, values, next_values, terminated, truncated, discount, lambda_
):
    next_values = agreeing(values, next_values, terminated, truncated)
    rates_ = (np.float32(discount), np.float32(lambda_))
    whole = compiled_gae(rewards, values, next_values, terminated, truncated, *rates_)
    targets = returns.lambda_returns(
        rewards, next_values, terminated, truncated, discount=rates_[0], lambda_=rates_[1]
    )
    np.testing.assert_allclose(whole + values, targets, rtol=1e-4, atol=1e-3)
    for end in np.flatnonzero(terminated | truncated):  # what comes after has no part in what was before
        other = [np.where(np.arange(T) > end, x[::-1], x) for x in (rewards, values, next_values)]
        np.testing.assert_array_equal(
            compiled_gae(*other, terminated, truncated, *rates_)[: end + 1], whole[: end + 1]
        )


def test_gae_sums_td_errors_whoever_valued_the_next_states(rng):
    rewards, values, next_values, terminated, truncated = (x[0] for x in random_trajectories(rng))
    next_values, expected, after = rng.normal(size=T).astype(np.float32), np.zeros(T), 0.0
    for t in reversed(range(T)):
        delta = rewards[t] + DISCOUNT * (0 if terminated[t] else next_values[t]) - values[t]
        after = delta + (0 if terminated[t] or truncated[t] else DISCOUNT * LAMBDA * after)
        expected[t] = after
    found = FUNCTIONS["gae"](rewards, values, next_values, terminated, truncated)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_returns_of_whole_episodes_read_the_next_value_at_the_end_alone():
    spoiled = jnp.asarray([jnp.nan, jnp.inf, 1.0])
    found = returns.discounted_returns(jnp.ones(3), None, None, spoiled, discount=0.9)
    np.testing.assert_allclose(found, [1 + 0.9 * (1 + 0.9 * 1.9), 1 + 0.9 * 1.9, 1.9], rtol=1e-6)


def test_truncated_bootstraps_from_the_true_next_state_and_terminated_does_not():
    rewards, values = jnp.ones(3), jnp.asarray([1.0, 2.0, 100.0])  # step 2 starts another episode
    next_values = jnp.asarray([2.0, 5.0, 7.0])
    ends = jnp.asarray([False, True, False])
    gae = functools.partial(returns.gae, rewards, values, next_values, discount=0.5, lambda_=1.0)
    np.testing.assert_allclose(gae(truncated=ends)[:2], [1 + 0.5 * (1 + 0.5 * 5) - 1, 1 + 0.5 * 5 - 2])
    np.testing.assert_allclose(gae(terminated=ends)[:2], [1 + 0.5 * 1 - 1, 1 - 2])
    np.testing.assert_allclose(gae(terminated=ends, truncated=ends), gae(terminated=ends))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_after_the_end_stays_there(name, rng):
    rewards, values, next_values, *_ = (x[0] for x in random_trajectories(rng))
    padding, end = np.arange(T) > 7, np.arange(T) == 7
    spoiled = [np.where(padding, np.nan, x).astype(np.float32) for x in (rewards, values, next_values)]
    spoiled[2][7] = np.nan  # the value of a terminal state is never looked at
    none = np.zeros(T, bool)
    given = FUNCTIONS[name](*spoiled, end, none)
    np.testing.assert_array_equal(given[:8], FUNCTIONS[name](rewards, values, next_values, end, none)[:8])


def test_next_values_that_are_not_read_may_hold_anything():
    nothing = np.float32([np.nan, np.inf, 1])
    given = returns.discounted_returns(np.ones(3, np.float32), None, None, nothing, discount=0.9)
    np.testing.assert_allclose(given, [1 + 0.9 * (1 + 0.9 * 1.9), 1 + 0.9 * 1.9, 1.9], rtol=1e-6)


def test_many_more_steps_than_there_are_change_nothing():
    ones = np.ones(3, np.float32)
    given = returns.n_step_returns(ones, ones, discount=0.5, num_steps=2**30)
    np.testing.assert_allclose(given, returns.discounted_returns(ones, None, None, ones, discount=0.5))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_gradient_leaks_unless_it_is_asked_for(name, rng):
    arrays, none = [jnp.asarray(x[0]) for x in random_trajectories(rng)[:3]], jnp.zeros(T, bool)

    def total(arrays, **kwargs):
        return jnp.sum(FUNCTIONS[name](*arrays, none, none, **kwargs))

    for gradient in jax.grad(total)(arrays):
        np.testing.assert_array_equal(gradient, 0)
    open_gradients = jax.grad(functools.partial(total, stop_gradient=False))(arrays)
    assert np.all(open_gradients[0] > 0)
    assert np.any(open_gradients[2] != 0)
    of_values = -np.cumsum((DISCOUNT * LAMBDA) ** np.arange(T)) if name == "gae" else np.zeros(T)
    np.testing.assert_allclose(open_gradients[1], of_values, rtol=1e-5)
    if name == "discounted":
        by_rewards = [np.sum(DISCOUNT ** np.arange(t + 1)) for t in range(T)]
        np.testing.assert_allclose(open_gradients[0], by_rewards, rtol=1e-5)
        np.testing.assert_array_equal(open_gradients[2][:-1], 0)
        np.testing.assert_allclose(open_gradients[2][-1], DISCOUNT * by_rewards[-1], rtol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scan_equals_vmap_and_dtypes_are_at_least_float32(name, rng):
    batch = tuple(jnp.asarray(x[:5]) for x in random_trajectories(rng))
    _, scanned = jax.lax.scan(lambda carry, row: (carry, FUNCTIONS[name](*row)), 0, batch)
    np.testing.assert_allclose(scanned, jax.vmap(FUNCTIONS[name])(*batch), rtol=1e-6)
    narrow = FUNCTIONS[name](*(x[0].astype(jnp.bfloat16) for x in batch[:3]), batch[3][0], batch[4][0])
    assert narrow.dtype == jnp.float32
    with jax.enable_x64(True):
        assert FUNCTIONS[name](*(np.float64(x[0]) for x in batch)).dtype == jnp.float64


def test_padding_weights_count_the_end_and_nothing_after():
    ended = np.asarray([[0, 0, 1, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    expected = [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
    np.testing.assert_array_equal(jax.vmap(returns.padding_weights)(ended), expected)


def test_discount_weights_count_from_each_episodes_start():
    ended = np.asarray([0, 0, 1, 0, 1, 0], bool)
    np.testing.assert_allclose(returns.discount_weights(ended, discount=0.5), [1, 0.5, 0.25, 1, 0.5, 1])
    later = returns.discount_weights(ended, discount=0.5, first_step=3)
    np.testing.assert_allclose(later, [0.125, 0.0625, 0.03125, 1, 0.5, 1])
    np.testing.assert_array_equal(returns.discount_weights(ended, discount=0.0), [1, 0, 0, 1, 0, 1])


ONES = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: returns.discounted_returns(np.ones((2, 3)), discount=0.9), r"rewards must have shape \[T\]"),
        (lambda: returns.discounted_returns(ONES, np.ones(2), discount=0.9), "terminated must have shape"),
        (lambda: returns.discounted_returns(ONES, discount=ONES), "discount must be a scalar"),
        (
            lambda: returns.gae(ONES, ONES, np.ones(2), discount=1.0, lambda_=1.0),
            "next_values must have the shape",
        ),
        (lambda: returns.n_step_returns(ONES, ONES, discount=1.0, num_steps=0), "num_steps must be an integer"),
        (lambda: returns.padding_weights(np.ones((2, 3))), "ended must have shape"),
        (lambda: returns.padding_weights("abc"), "ended must be"),
        (lambda: returns.padding_weights(None), "ended must be"),
        (lambda: returns.padding_weights([[1], [1, 2]]), "ended must be"),
        (lambda: returns.discount_weights(ONES, discount=1.0, first_step=[1, 2, 3]), "first_step must be"),
        (lambda: returns.discount_weights(ONES, discount=1.0, first_step=-1), "first_step must be"),
        (lambda: returns.discount_weights(ONES, discount=1.5), "discount must be"),
        (lambda: returns.discounted_returns(ONES, discount=-1.0), "discount must be"),
        (lambda: returns.discounted_returns(ONES, discount=np.float32(np.nan)), "discount must be"),
        (lambda: returns.discounted_returns(ONES, discount="a"), "discount must be"),
        (lambda: returns.lambda_returns(ONES, ONES, discount=1.0, lambda_=2.0), "lambda_ must be"),
        (lambda: returns.n_step_returns(ONES, ONES, discount=1.5, num_steps=1), "discount must be"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
