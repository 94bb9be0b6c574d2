"""The discrete families against numpy, and what each promises beyond the common contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pgjax.distributions import Categorical, EpsilonGreedy, Greedy, MultiCategorical, Softmax
from tests.deep import deep, deep_except
from tests.pgjax.distributions.families import OPTIMIZED, new_key

INF = np.inf
LOGITS = np.array([[1.0, 2.0, 3.0], [0.5, -4.0, 0.0]], np.float32)
MASK = np.array([[True, True, False], [True, False, True]])
Q_FAMILIES = {
    "Categorical": Categorical,
    "Greedy": Greedy,
    "EpsilonGreedy": lambda q, mask=None: EpsilonGreedy(q, 0.3, mask),
    "Softmax": lambda q, mask=None: Softmax(q, 0.5, mask),
}
every_q_family = pytest.mark.parametrize("build", deep_except(Q_FAMILIES, "Categorical", "EpsilonGreedy"))


def log_softmax(logits, mask):
    """Return log probabilities in float64, -inf where masked."""
    return scipy.special.log_softmax(np.where(mask, np.float64(logits), -INF), axis=-1)


@pytest.mark.parametrize("mask", [None, MASK, MASK[0]], ids=["no mask", "row masks", "one mask"])
def test_log_probs_equal_scipy(mask):
    """Log probabilities, probabilities and log_prob agree with a softmax in float64."""
    expected = log_softmax(LOGITS, np.ones_like(MASK) if mask is None else mask)
    pi = Categorical(LOGITS, mask)
    np.testing.assert_allclose(pi.log_probs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pi.probs, np.exp(expected), rtol=1e-5)
    for action in range(3):
        np.testing.assert_allclose(pi.log_prob(jnp.full(2, action)), expected[:, action], rtol=1e-5, atol=1e-6)


@every_q_family
def test_masked_actions_have_probability_zero(build):
    """However good, a masked action has probability exactly 0 and is neither drawn nor the mode."""
    q = jnp.array([[5.0, 1.0, 1e30, 0.9], [1e30, -1e9, -1e9, 1e30]])
    mask = jnp.array([[True, True, False, True], [False, True, True, False]])
    pi = build(q, mask)
    assert (pi.probs[~mask] == 0.0).all()
    assert (pi.log_probs[~mask] == -INF).all()
    draws = np.asarray(pi.sample(seed=new_key(), sample_shape=5000))
    assert np.take_along_axis(np.asarray(mask), draws.T, axis=1).all()
    assert np.take_along_axis(np.asarray(mask), np.asarray(pi.mode())[:, None], axis=1).all()
    np.testing.assert_allclose(pi.probs.sum(-1), 1.0, rtol=1e-6)


@pytest.mark.deep
def test_masked_actions_are_never_drawn_among_many():
    """Half of a thousand actions masked, 2 million draws: rounding gives no masked one a share.

    The random numbers are fixed; what is looked for is a share of about 1e-7 a draw from a cumulative sum
    that is not flat, or not monotone, over masked actions, added up over many rows and draws.
    """

    @functools.partial(jax.jit, compiler_options=OPTIMIZED)
    def count_illegal(keys):
        return jnp.sum(jax.lax.map(count_illegal_of, keys))

    def count_illegal_of(key):
        logits_key, mask_key, draw_key = jax.random.split(key, 3)
        mask = jax.random.bernoulli(mask_key, 0.5, (50, 1000))
        pi = Categorical(jax.random.normal(logits_key, (50, 1000)), mask)
        draws = pi.sample(seed=draw_key, sample_shape=100)
        return jnp.sum(~jnp.take_along_axis(mask, draws.T, axis=1))

    assert count_illegal(jax.random.split(new_key(), 400)) == 0


def test_minus_infinite_logits_are_masked():
    """A logit of -inf equals a masked one in every method, with finite gradients."""
    with_inf = Categorical(jnp.where(MASK, LOGITS, -INF))
    masked = Categorical(LOGITS, MASK)
    np.testing.assert_array_equal(with_inf.log_probs, masked.log_probs)
    gradient = jax.grad(lambda x: Categorical(x).entropy().sum())(jnp.where(MASK, LOGITS, -INF))
    assert jnp.isfinite(gradient).all()
    assert (gradient[~MASK] == 0).all()


@every_q_family
def test_illegal_log_prob_has_zero_gradient(build):
    """log_prob of a masked action is -inf, and no gradient of it is NaN or moves a legal logit."""
    mask = jnp.array(MASK[0])
    value, gradient = jax.value_and_grad(lambda x: build(x, mask).log_prob(jnp.int32(2)))(jnp.array(LOGITS[0]))
    assert value == -INF
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("action", [deep(-(2**31)), -1, 3, deep(2**31 - 1)])
@every_q_family
def test_actions_out_of_range(build, action):
    """-inf for actions that do not exist: neither wrapped nor clamped."""
    assert (build(LOGITS).log_prob(jnp.full(2, action, jnp.int32)) == -INF).all()


def test_plus_infinite_logit_takes_all():
    """+inf gives one-hot; two of them share; gradients are finite."""
    pi = Categorical(jnp.array([[INF, 0.0, 5.0], [INF, 1.0, INF]]))
    np.testing.assert_allclose(pi.probs, [[1, 0, 0], [0.5, 0, 0.5]])
    np.testing.assert_allclose(pi.entropy(), [0, np.log(2)], atol=1e-7)
    assert (pi.sample(seed=new_key(), sample_shape=100)[:, 0] == 0).all()
    gradient = jax.grad(lambda x: Categorical(x).entropy())(jnp.array([INF, 0.0]))
    assert jnp.isfinite(gradient).all()


@every_q_family
def test_nan_logits_are_flagged(build):
    """A NaN shows as sample -1, in its own row only."""
    draws = build(jnp.array([[0.0, jnp.nan, 1.0], [0.0, 0.0, 0.0]])).sample(seed=new_key(), sample_shape=50)
    assert (draws[:, 0] == -1).all()
    assert (draws[:, 1] >= 0).all()


@every_q_family
def test_masked_nan_is_harmless(build):
    """A NaN that the mask forbids changes nothing."""
    mask = jnp.array([True, False, True])
    with_nan, without = (build(jnp.array([0.0, x, 1.0]), mask) for x in (jnp.nan, 0.0))
    np.testing.assert_array_equal(with_nan.probs, without.probs)


@every_q_family
def test_no_legal_action_is_uniform(build):
    """A row that allows nothing is uniform over all its actions, with zero gradients, and harms no other row."""
    mask = jnp.array([[False] * 3, [True] * 3])
    pi = build(LOGITS, mask)
    np.testing.assert_allclose(pi.probs[0], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(pi.probs[1], build(LOGITS).probs[1], rtol=1e-6)

    def total(x):
        return build(x, mask).entropy()[0] + build(x, mask).log_prob(jnp.array([1, 0]))[0]

    np.testing.assert_array_equal(jax.grad(total)(jnp.asarray(LOGITS)), 0.0)
    assert set(np.unique(pi.sample(seed=new_key(), sample_shape=200)[:, 0])) == {0, 1, 2}


def test_kl_of_different_supports():
    """+inf where p allows what q forbids; exact the other way round; gradients without NaN."""
    p, q = Categorical(LOGITS[0]), Categorical(LOGITS[0], MASK[0])
    assert p.kl_divergence(q) == INF
    np.testing.assert_allclose(q.kl_divergence(p), np.log(1 + np.exp(3) / (np.e + np.exp(2))), rtol=1e-5)

    def kl(x, y):
        return Categorical(x, MASK[0]).kl_divergence(Categorical(y))

    gradients = jax.grad(kl, argnums=(0, 1))(jnp.array(LOGITS[0]), jnp.array(LOGITS[0]))
    assert all(jnp.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("step", deep_except([1e-1, 1e-2, 1e-3, 1e-4], 1e-2, 1e-4))
def test_kl_of_neighbors(step):
    """KL of close distributions is never negative and keeps its leading digits (half the variance)."""
    logits = jax.random.normal(new_key(), (200, 8))
    direction = jnp.float32(step) * jax.random.normal(new_key(1), (200, 8))
    p, q = Categorical(logits), Categorical(logits + direction)
    # The exact KL of the rounded log-probabilities that the two distributions really have.
    log_p, log_q = (scipy.special.log_softmax(np.float64(x), axis=-1) for x in (logits, logits + direction))
    expected = (np.exp(log_p) * (log_p - log_q)).sum(-1)
    kl = p.kl_divergence(q)
    assert (kl >= 0).all()
    np.testing.assert_allclose(kl, expected, rtol=0.02 if step < 1e-3 else 2e-3, atol=1e-12)


def test_score_is_the_textbook_one():
    """d log p(a) / d logits is one_hot(a) - p."""
    gradient = jax.jacobian(lambda x: jax.vmap(Categorical(x).log_prob)(jnp.arange(3)))(jnp.array(LOGITS[0]))
    np.testing.assert_allclose(gradient, np.eye(3) - scipy.special.softmax(LOGITS[0]), atol=1e-6)


def test_multi_categorical_is_its_factors():
    """Sums over factors of different sizes; a mask may be missing for one of them."""
    first, second = jnp.array(LOGITS), jnp.array([[0.0, 1.0], [2.0, -1.0]])
    pi = MultiCategorical((first, second), (jnp.array(MASK), None))
    factors = Categorical(first, MASK), Categorical(second)
    action = jnp.array([[1, 0], [2, 1]])
    assert (pi.event_shape, pi.batch_shape) == ((2,), (2,))
    log_prob = sum(factor.log_prob(action[:, i]) for i, factor in enumerate(factors))
    np.testing.assert_allclose(pi.log_prob(action), log_prob, rtol=1e-6)
    np.testing.assert_allclose(pi.entropy(), sum(factor.entropy() for factor in factors), rtol=1e-6)
    np.testing.assert_array_equal(pi.mode(), np.stack([factor.mode() for factor in factors], -1))
    for impossible in ([[2, 0], [0, 0]], [[0, 2], [0, 2]], [[-1, 0], [0, -1]]):  # masked, beyond, before
        assert pi.log_prob(jnp.array(impossible))[0] == -INF
    draws = np.asarray(pi.sample(seed=new_key(), sample_shape=3000))
    assert (draws[..., 1] < 2).all()
    assert (draws[:, 0, 0] != 2).all()


def test_multi_categorical_factors_are_independent():
    """The joint frequencies are the product of the factors' probabilities, within 5 sigma."""
    pi = MultiCategorical((jnp.zeros(3), jnp.array([0.0, 1.0]), jnp.zeros(3)))
    draws = np.asarray(pi.sample(seed=new_key(), sample_shape=20_000))
    joint = np.zeros((3, 2, 3))
    np.add.at(joint, tuple(draws.T), 1 / 20_000)
    expected = np.einsum("i,j,k->ijk", np.ones(3) / 3, scipy.special.softmax([0.0, 1.0]), np.ones(3) / 3)
    assert (np.abs(joint - expected) < 5 * np.sqrt(expected / 20_000)).all()


@pytest.mark.parametrize(
    ("q", "mask", "expected"),
    [
        ([1.0, 3.0, 2.0], None, [0, 1, 0]),
        ([3.0, 3.0, 2.0], None, [0.5, 0.5, 0]),
        ([3.0, 3.0, 3.0], [0, 1, 1], [0, 0.5, 0.5]),
        ([1.0, 2.0, 3.0], [1, 1, 0], [0, 1, 0]),
        ([-1e30, -1e30, 1e30], [1, 1, 0], [0.5, 0.5, 0]),
        ([-5.0, -4.0, -6.0], [1, 0, 1], [1, 0, 0]),
    ],
)
def test_greedy_probabilities(q, mask, expected):
    """Ties share; masked actions never win; epsilon mixes in a uniform choice of the legal ones."""
    q, expected = jnp.array(q), np.array(expected)
    uniform = np.ones(3) if mask is None else np.array(mask)
    mask = None if mask is None else jnp.array(mask, bool)
    np.testing.assert_allclose(Greedy(q, mask).probs, expected, atol=1e-7)
    np.testing.assert_allclose(Softmax(q, 0.0, mask).probs, expected, atol=1e-7)
    np.testing.assert_allclose(Softmax(q, 1e-30, mask).probs, expected, atol=1e-7)
    for epsilon in (0.0, 0.25, 1.0):
        mixture = (1 - epsilon) * expected + epsilon * uniform / uniform.sum()
        np.testing.assert_allclose(EpsilonGreedy(q, epsilon, mask).probs, mixture, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0, 1e30])
def test_softmax_is_softmax(temperature):
    """Q-values divided by the temperature, also where they are large and lie together."""
    q = np.float32([[1.0, 2.0, 0.0], [1e6, 1e6 + 1, 1e6 - 1]])
    expected = scipy.special.softmax(np.float64(q) / temperature, axis=-1)
    np.testing.assert_allclose(Softmax(q, temperature).probs, expected, rtol=1e-4)


def test_exploration_may_be_traced():
    """Changing epsilon or temperature compiles nothing anew, gives the right numbers, and is differentiable."""
    traces = []

    @jax.jit
    def probs(q, epsilon, temperature):
        traces.append(1)
        return EpsilonGreedy(q, epsilon).probs, Softmax(q, temperature).probs

    q = jnp.array(LOGITS)
    for value in (0.0, 0.1, 0.7, 1.0):
        mixed, soft = probs(q, jnp.float32(value), jnp.float32(value))
        np.testing.assert_allclose(mixed, EpsilonGreedy(q, value).probs, atol=1e-6)
        np.testing.assert_allclose(soft, Softmax(q, value).probs, atol=1e-6)
    assert len(traces) == 1
    slope = jax.grad(lambda e: EpsilonGreedy(q[0], e).probs[0])(jnp.float32(0.3))
    np.testing.assert_allclose(slope, 1 / 3, rtol=1e-5)
    cool = jax.grad(lambda q, t: Softmax(q, t).entropy(), argnums=(0, 1))(q[0], jnp.float32(0.0))
    assert all(jnp.isfinite(g).all() for g in cool)
    swept = jax.vmap(lambda e: EpsilonGreedy(q, e))(jnp.array([0.0, 0.5]))
    assert swept.entropy().shape == (2, 2)


def test_mask_may_be_traced():
    """One compiled function serves every mask."""
    probs = jax.jit(lambda mask: Categorical(jnp.zeros(3), mask).probs)
    np.testing.assert_allclose(probs(jnp.array([True, False, True])), [0.5, 0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(probs(jnp.array([False, True, False])), [0, 1, 0], rtol=1e-6)


REFUSED = {
    "epsilon below 0": ("epsilon", lambda: EpsilonGreedy(LOGITS, -0.1)),
    "epsilon above 1": ("epsilon", lambda: EpsilonGreedy(LOGITS, 1.1)),
    "epsilon NaN": ("epsilon", lambda: EpsilonGreedy(LOGITS, float("nan"))),
    "concrete epsilon array": ("epsilon", lambda: EpsilonGreedy(LOGITS, jnp.float32(2.0))),
    "negative temperature": ("temperature", lambda: Softmax(LOGITS, -1.0)),
    "scalar logits": ("logits", lambda: Categorical(jnp.float32(0.0))),
    "no actions": ("logits", lambda: Categorical(jnp.zeros((2, 0)))),
    "scalar q_values": ("q_values", lambda: Greedy(jnp.float32(0.0))),
    "mask of another size": ("mask", lambda: Categorical(LOGITS, jnp.ones(4, bool))),
    "mask of another batch": ("mask", lambda: Categorical(LOGITS, jnp.ones((3, 3), bool))),
    "q mask of another size": ("mask", lambda: Greedy(LOGITS, jnp.ones(4, bool))),
    "masks of another number": ("masks", lambda: MultiCategorical((LOGITS, LOGITS), (MASK,))),
    "no factors": ("logits", lambda: MultiCategorical(())),
    "float action": ("value|action", lambda: Categorical(LOGITS).log_prob(jnp.zeros(2))),
    "float actions": ("value|action", lambda: MultiCategorical((LOGITS, LOGITS)).log_prob(jnp.zeros((2, 2)))),
    "action of another batch": ("value|action", lambda: Categorical(LOGITS).log_prob(jnp.zeros(3, int))),
    "actions of another size": (
        "value|action",
        lambda: MultiCategorical((LOGITS, LOGITS)).log_prob(jnp.zeros((2, 3), int)),
    ),
}


@pytest.mark.parametrize(("name", "call"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused(name, call):
    """A wrong shape, dtype or setting raises a ValueError that names the argument."""
    with pytest.raises(ValueError, match=rf"\b({name})\b"):
        call()
