"""What full covariance gains where the reward couples the actions: exactly, and as policy gradient learns it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pgjax.distributions import DiagonalNormal, MultivariateNormal
from pgjax.environments.bandits import QuadraticBandit
from pgjax.networks import scale_tril

NUM_DIMS = 6  # actions; observations too
NUM_BELOW = NUM_DIMS * (NUM_DIMS - 1) // 2
TEMPERATURE = 0.5
# Gap over temperature, and how far it is rounded, by equicorrelation.
GAPS = {0.0: (0.0, 1e-12), 0.5: (1.106, 5e-4), 0.9: (4.904, 5e-4), 0.99: (10.62, 5e-3)}
NUM_STEPS, NUM_ACTIONS, LEARNING_RATE = 1000, 32, 0.03  # of Adam, falling to 0 by a cosine


def equicorrelation(correlation: float, num_dims: int = NUM_DIMS) -> np.ndarray:
    """H with ones on the diagonal and one correlation everywhere else."""
    return np.full((num_dims, num_dims), correlation) + (1 - correlation) * np.eye(num_dims)


def exact_gaps(curvature: jax.Array) -> jax.Array:
    """The gap over tau, by its formula and as the difference between the two best Gaussians; shape `[2]`."""
    bandit = QuadraticBandit(jnp.zeros(NUM_DIMS), curvature, jnp.zeros(()))
    full, diagonal = (objective(bandit, best(TEMPERATURE)) for best in (bandit.best_full, bandit.best_diagonal))
    return jnp.stack([bandit.covariance_gap(TEMPERATURE), full - diagonal]) / TEMPERATURE


def objective(bandit: QuadraticBandit, pi: DiagonalNormal | MultivariateNormal) -> jax.Array:
    """Expected reward + tau * entropy, exactly."""
    return bandit.expected_reward(pi) + TEMPERATURE * pi.entropy()


def learn_all(keys: jax.Array) -> tuple[np.ndarray, dict[str, Any]]:
    """What `learn` gives for every correlation and key, `[correlations, seeds, ...]`."""
    curvatures = np.stack([equicorrelation(r) for r in GAPS]).astype(np.float32)
    return jax.jit(jax.vmap(jax.vmap(learn, (None, 0)), (0, None)))(curvatures, keys)


def gaps_of(optimum: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    """The gap over tau of learned policies, exactly; `[correlations, seeds]`."""

    def gap(curvature, optimum, params):
        bandit = QuadraticBandit(optimum, curvature, jnp.zeros(()))
        full, diagonal = (objective(bandit, gaussian(params[family])) for family in ("full", "diagonal"))
        return (full - diagonal) / TEMPERATURE

    curvatures = np.stack([equicorrelation(r) for r in GAPS])
    in_float64 = jax.tree.map(lambda x: np.asarray(x, np.float64), (optimum, params))
    return np.asarray(jax.jit(jax.vmap(jax.vmap(gap, (None, 0, 0))))(curvatures, *in_float64))


def learn(curvature: jax.Array, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    """A problem's optimum, and the parameters of both families learned on it from one start."""
    key_optimum, key_mean, key_train = jax.random.split(key, 3)
    optimum, mean = (jax.random.normal(k, (NUM_DIMS,)) for k in (key_optimum, key_mean))
    bandit = QuadraticBandit(optimum, curvature, jnp.zeros(()))
    start = {"mean": mean, "log_std": jnp.zeros(NUM_DIMS)}
    both = {"diagonal": start, "full": start | {"below": jnp.zeros(NUM_BELOW)}}
    return optimum, train(bandit, both, jax.random.split(key_train, NUM_STEPS))


def gaussian(params: dict[str, jax.Array]) -> DiagonalNormal | MultivariateNormal:
    """The Gaussian of learned parameters: full where they have entries below the diagonal."""
    if "below" in params:
        return MultivariateNormal(params["mean"], scale_tril(params["log_std"], params["below"]))
    return DiagonalNormal(params["mean"], params["log_std"])


def train(bandit: QuadraticBandit, params: dict[str, Any], keys: jax.Array) -> dict[str, Any]:
    """Parameters of each family after Adam on pathwise gradients of sampled rewards and of the exact entropy.

    Adam steps each number on its own: trained together is trained apart.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, NUM_STEPS))

    def loss(params, key):
        key_actions, key_rewards = jax.random.split(key)
        pi = gaussian(params)
        actions = pi.sample(seed=key_actions, sample_shape=NUM_ACTIONS)
        rewards = jax.vmap(bandit.pull, (None, 0))(key_rewards, actions)
        return -(jnp.mean(rewards) + TEMPERATURE * pi.entropy())

    def step(carry, key):
        params, state = carry
        keys = dict(zip(params, jax.random.split(key, len(params)), strict=True))
        gradient = {family: jax.grad(loss)(params[family], keys[family]) for family in params}
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), keys)[0][0]
