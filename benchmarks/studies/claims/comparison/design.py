"""The 2x2 of claim g: environments with their exact best, settings chosen on other seeds, exact curves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgjax import environments
from studies.claims.comparison import learners
from studies.claims.comparison import statements as said
from studies.claims.comparison.statements import ENVIRONMENTS

NUM_SUCCESSORS = 3  # of the random MDP
HORIZON = 400  # at which what is still to come is below 1e-17 of the value
TUNING_SHARE, TUNING_SEED = 8, 1_000_000  # runs of a try: num_seeds / 8; from seeds apart


class Instances(NamedTuple):
    """Environments, all of the same size; the random MDP is another one for every seed.

    Fields: mdp: arrays that lead with `[E, M]`; uniform, best: exact values of acting uniformly, and of the best
    policy on what it sees, `[E, M]`.
    """

    mdp: environments.TabularMDP
    uniform: np.ndarray
    best: np.ndarray


class Curves(NamedTuple):
    """One learner's runs, by environment and seed.

    Fields: acting: normalized exact values of the policy that acts, 0 uniform, 1 the best, `[E, M, points + 1]`;
    greedy: of the same without exploration; last: of the last that acted, not normalized, `[E, M]`; critic: the
    last values.
    """

    acting: np.ndarray
    greedy: np.ndarray
    last: np.ndarray
    critic: np.ndarray


def random_mdp(rng: np.random.Generator) -> environments.TabularMDP:
    """20 states, 4 actions with 3 successors each, normal rewards, no end: episodes are truncated alone.

    Reference: Archibald, McKinnon & Thomas (1995), On the generation of Markov decision processes (Garnet).
    """
    size, num_actions = learners.NUM_STATES, learners.NUM_ACTIONS
    transition = np.zeros((size, num_actions, size))
    for row in transition.reshape(-1, size):
        row[rng.choice(size, NUM_SUCCESSORS, replace=False)] = rng.dirichlet(np.ones(NUM_SUCCESSORS))
    return environments.tabular_mdp(transition, rng.standard_normal((size, num_actions)), np.full(size, 1 / size))


def padded(mdp: environments.TabularMDP) -> environments.TabularMDP:
    """The same with more terminal states, which are never reached, so that all environments are of one size."""
    extra = learners.NUM_STATES - len(mdp.initial)
    sides = [(0, extra), (0, 0), (0, extra)]
    return environments.tabular_mdp(
        np.pad(mdp.transition, sides),
        np.pad(mdp.reward, sides[:2]),
        np.pad(mdp.initial, sides[:1]),
        observation=np.pad(mdp.observation, sides[:1]),
        terminal=np.pad(mdp.terminal, sides[:1], constant_values=True),
    )


def make_instances(seed: int, num: int) -> Instances:
    """The environments of some seeds."""
    rng, aliased = np.random.default_rng(seed), environments.aliased_gridworld()
    seen = environments.fully_observed(aliased)
    drawn = [random_mdp(rng) for _ in range(num)]
    chosen = [[padded(seen)] * num, drawn, [padded(aliased)] * num]
    mdp = jax.tree.map(lambda *x: np.stack(x), *(jax.tree.map(lambda *x: np.stack(x), *row) for row in chosen))
    policies = in_runs_shape(
        num, [np.full((4, 4), 0.25), environments.toward_treasure()]
    )  # the aliased gridworld's best
    uniform, memoryless = np.moveaxis(exact_values(mdp, policies)[..., 0], -1, 0)[:2]
    seen_best, *drawn_best = (
        environments.optimal_policy(m, learners.DISCOUNT, time_limit=HORIZON).value for m in [seen, *drawn]
    )
    return Instances(mdp, uniform, np.stack([np.full(num, seen_best), drawn_best, memoryless[-1]]))


def in_runs_shape(num: int, policies: Sequence[Any]) -> np.ndarray:
    """Policies `[4, A]` of the aliased gridworld in the shape of a run's, so that no second one is compiled.

    Returns: shape `[E, num, points + 1, 2, O, A]`, one after the other among the points, uniform elsewhere.
    """
    size = (learners.NUM_POINTS + 1, 2, learners.NUM_STATES, learners.NUM_ACTIONS)
    tables = np.full((len(ENVIRONMENTS), num, *size), 1 / learners.NUM_ACTIONS)
    for place, policy in enumerate(policies):
        tables[:, :, place, :, :4] = policy
    return tables


@jax.jit
def _exact_values(mdp: environments.TabularMDP, policies: jax.Array, discount: jax.Array) -> jax.Array:
    of_policies = jax.vmap(jax.vmap(environments.start_value, (None, 0, None)), (None, 0, None))
    return jax.vmap(jax.vmap(of_policies, (0, 0, None)), (0, 0, None))(mdp, policies, discount)


def exact_values(mdp: environments.TabularMDP, policies: Any) -> np.ndarray:
    """What policies `[E, M, P, 2, O, A]` are worth, in float64: `[E, M, P, 2]`; without the time limit."""
    with jax.enable_x64(True):
        # The discount is an argument: as a constant, XLA would fold for a minute what depends on it alone.
        discount = jnp.asarray(learners.DISCOUNT)
        return np.asarray(_exact_values(mdp, jnp.asarray(policies, jnp.float64), discount))


def run_cell(cell: str, num_seeds: int, seed: int, evaluation: Instances, tuning: Instances) -> Any:
    """One learner: the settings that do best on average over the tuning's runs, and its curves with them."""
    learner = learners.LEARNERS[cell]
    train = functools.partial(_train, list(learners.LEARNERS).index(cell))
    num_tuning = tuning.uniform.shape[1]
    tries = np.asarray(learner.tries, np.float32)
    # Calls of one shape, so that nothing is compiled twice: as many runs at once as there are seeds.
    lanes = np.arange(-(-len(tries) * num_tuning // num_seeds) * num_seeds) % (len(tries) * num_tuning)
    keys = jax.random.split(jax.random.key(seed + TUNING_SEED), num_tuning)
    scores = np.zeros((len(ENVIRONMENTS), len(tries) * num_tuning))
    for part in lanes.reshape(-1, num_seeds):
        which, run = np.divmod(part, num_tuning)
        picked = jax.tree.map(lambda x, run=run: x[:, run], tuning)
        curves = _curves(train, keys[run], picked, np.tile(tries[which], (len(ENVIRONMENTS), 1, 1)))
        scores[:, part] = efficiency(curves.acting)
    chosen = scores.reshape(len(ENVIRONMENTS), len(tries), num_tuning).mean(-1).argmax(-1)
    settings = np.repeat(tries[chosen][:, None], num_seeds, axis=1)
    keys = jax.random.split(jax.random.key(seed), num_seeds)
    return tries[chosen], _curves(train, keys, evaluation, settings)


def _curves(train: Callable[..., Any], keys: jax.Array, instances: Instances, settings: np.ndarray) -> Curves:
    keys = jax.random.clone(jnp.stack([keys] * len(ENVIRONMENTS)))  # the same in all environments and tries
    policies, critic = train(keys, instances.mdp, settings)
    values = exact_values(instances.mdp, policies)
    uniform, best = instances.uniform[..., None, None], instances.best[..., None, None]
    normalized = (values - uniform) / (best - uniform)
    return Curves(normalized[..., 0], normalized[..., 1], values[..., -1, 0], np.asarray(critic))


@jax.jit
def _train(which: jax.Array, keys: jax.Array, mdp: environments.TabularMDP, settings: jax.Array) -> Any:
    of_seeds = jax.vmap(learners.train, (None, 0, 0, 0))
    return jax.vmap(of_seeds, (None, 0, 0, 0))(which, keys, mdp, settings)


def efficiency(acting: np.ndarray) -> np.ndarray:
    """The mean over training of the acting policy's normalized value, `[...]` of `[..., points + 1]`."""
    return acting[..., 1:].mean(-1)


def drawdown(acting: np.ndarray) -> np.ndarray:
    """The largest fall from an earlier value in the second half of training."""
    half = acting[..., acting.shape[-1] // 2 :]
    return (np.maximum.accumulate(half, axis=-1) - half).max(-1)


def spread(acting: np.ndarray) -> np.ndarray:
    """How far each seed's last value is from the median of all seeds, `[E, M]`."""
    return np.abs(acting[..., -1] - np.median(acting[..., -1], axis=1, keepdims=True))


def effects(measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The 2x2's main effects and simple differences, of what was measured in its four cells."""
    value, policy, replay, on_policy = (
        sum(x for cell, x in measured.items() if name in cell.split(", ")) / 2
        for name in ("value", "policy", "replay", "on-policy")
    )
    return {
        said.DIFFERENCE: value - policy,
        said.REGIME: replay - on_policy,
        said.BOTH_REPLAY: measured["value, replay"] - measured["policy, replay"],
        said.BOTH_ON_POLICY: measured["value, on-policy"] - measured["policy, on-policy"],
        said.NAIVE: measured["value, replay"] - measured["policy, on-policy"],
        said.BOTH: measured["policy, replay"] - measured["policy, on-policy"],
    }


def quartiles(curves: np.ndarray) -> list[list[list[float]]]:
    """25, 50 and 75 % over seeds of each curve, for a figure."""
    return [np.round(np.percentile(curve, (25, 50, 75), axis=0), 4).tolist() for curve in curves]
