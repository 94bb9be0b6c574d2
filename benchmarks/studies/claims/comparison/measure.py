"""g. Value-based against policy-based, cell by cell of the chapter's table, each measured on both sides.

What is learned, how to act, continuous actions, stochastic policies, sample efficiency, stability. The last two
are mostly compared between off-policy values and on-policy policies; here both sides learn in both ways (a 2x2),
on tables in environments whose exact values judge the policy that acts, with settings chosen on other seeds.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax import environments, games, losses, noise, returns
from studies.claims.comparison import bandit as bandits
from studies.claims.comparison import design as designs
from studies.claims.comparison import learners
from studies.claims.comparison import statements as said
from studies.claims.comparison.statements import DIFFERENCE, POLICY, RATIO, STATEMENTS, VALUE
from studies.claims.rows import Measuring
from studies.common.timing import time_interleaved

Values = dict[said.Key, Any]

NUM_FEATURES, NUM_ACTIONS, NUM_TIMINGS = 12, 64, 8  # of the state; discrete actions; independent timings
TIMING: dict[str, Any] = {"min_time_s": 0.01, "max_time_s": 0.05, "num_rounds": 1}
NOISE_STD, CURVATURES = 0.5, (0.5, 2.0)  # of the bandit: the reward's noise, the range of H's eigenvalues
GAME_STEPS, GAME_LAST, GAME_RATE, GAME_TEMPERATURE = 3000, 500, 0.3, 0.1
TD_BATCH = 16


class Study(NamedTuple):
    """The 2x2's runs: curves by cell, settings by cell and environment, and the environments."""

    curves: dict[str, designs.Curves]
    settings: dict[str, np.ndarray]
    instances: designs.Instances


def measure(*, num_seeds: int, seed: int) -> Measuring:
    """Measure every cell; the figure has quartiles of the learning curves."""
    # Side by side: compilations and small steps leave one of two cores idle. Times are taken afterwards, alone.
    with ThreadPoolExecutor(2) as pool:
        learned = pool.submit(run_design, num_seeds, seed)
        apart = pool.submit(lambda: continuous_actions(num_seeds, seed) | divergence(num_seeds, seed))
    study = learned.result()
    yield "rounds", how_to_act(seed)
    for values in (
        apart.result(),
        what_is_learned(study),
        stochastic_policies(study, num_seeds, seed),
        sample_efficiency(study),
        stability(study),
    ):
        exact = {
            key: value for key, value in values.items() if key in STATEMENTS and STATEMENTS[key].says == "exact"
        }
        yield "cases", exact
        yield "seeds", {key: value for key, value in values.items() if key not in exact}
    return figure_data(study)


def run_design(num_seeds: int, seed: int) -> Study:
    """Train the four cells in all environments."""
    evaluation = designs.make_instances(seed, num_seeds)
    tuning = designs.make_instances(seed + designs.TUNING_SEED, max(1, num_seeds // designs.TUNING_SHARE))
    curves, settings = {}, {}
    for cell in learners.LEARNERS:
        settings[cell], curves[cell] = designs.run_cell(cell, num_seeds, seed, evaluation, tuning)
    return Study(curves, settings, evaluation)


def both_sides(where: str, quantity: str, value: Any, policy: Any, sign: str = DIFFERENCE) -> Values:
    """A cell's three rows."""
    value, policy = np.asarray(value), np.asarray(policy)
    against = value / policy if sign == RATIO else value - policy
    return {(where, VALUE, quantity): value, (where, POLICY, quantity): policy, (where, sign, quantity): against}


def side(study: Study, name: str, of: str, index: int) -> np.ndarray:
    """A number of each seed, the mean of a side's two cells, in one environment."""
    return sum(getattr(study.curves[f"{name}, {regime}"], of)[index] for regime in ("on-policy", "replay")) / 2


def what_is_learned(study: Study) -> Values:
    """How far Q-learning's Q is from the exact one, and what the greedy policies of all learners lose."""
    values: Values = {}
    for index, name in enumerate(designs.ENVIRONMENTS[:2]):
        where = f"{said.LEARNED}: {name}"
        learned = study.curves["value, replay"].critic[index]
        values[where, "Q-learning", said.ERROR] = [
            relative_error(jax.tree.map(lambda x, at=(index, i): x[at], study.instances.mdp), q)
            for i, q in enumerate(learned)
        ]
        value, policy = (1 - side(study, who, "greedy", index)[:, -1] for who in ("value", "policy"))
        values |= both_sides(where, said.LOSS, value, policy)
    return values


def relative_error(mdp: environments.TabularMDP, learned: np.ndarray) -> float:
    """|Q - q*| / |q*| over the states where the episode goes on, in the Euclidean norm."""
    going, best = ~mdp.terminal, np.zeros(len(mdp.initial))
    for _ in range(designs.HORIZON):
        exact = mdp.reward + learners.DISCOUNT * mdp.transition @ best
        best = np.where(going, exact.max(-1), 0)
    return float(np.linalg.norm((learned - exact)[going]) / np.linalg.norm(exact[going]))


def how_to_act(seed: int) -> Values:
    """Time to decide with a policy's sample, and with the maximum of values."""
    key, keys = jax.random.key(seed), {}
    for name in ("state", "policy", "critic", "act"):
        key, keys[name] = jax.random.split(key)
    states, start = jax.random.normal(keys["state"], (256, NUM_FEATURES)), jnp.zeros(bandits.NUM_JOINTS)
    critic, values = pgjax.QNetwork(), pgjax.QValues(NUM_ACTIONS)
    params = [jax.jit(m.init)(keys["critic"], *x) for m, x in ((critic, (states[0], start)), (values, states[:1]))]
    policies = pgjax.GaussianPolicy(bandits.NUM_JOINTS), pgjax.CategoricalPolicy(NUM_ACTIONS)

    def search(params, key, states):
        objective = functools.partial(cast(Any, critic.apply), params)
        cem = pgjax.maximizers.cross_entropy(num_samples=64, num_elites=6)
        return pgjax.maximize_batch(key, objective, states, bandits.BOX, cem, num_steps=2).action

    def greedy(params, key, states):
        return jnp.argmax(cast(jax.Array, values.apply(params, states)), axis=-1)

    ways = [
        (
            best,
            own,
            jax.jit(functools.partial(pgjax.sample, policy)),
            jax.jit(policy.init)(keys["policy"], states[0]),
        )
        for best, own, policy in zip((jax.jit(search), jax.jit(greedy)), params, policies, strict=True)
    ]
    calls: dict[tuple[str, str], tuple[Any, tuple[Any, ...]]] = {}
    measured: Values = {}
    for where, (size, _) in said.WHERE_ACTING.items():
        best, params, sample, policy_params = ways["discrete" in where]
        calls[where, VALUE] = (best, (params, keys["act"], states[:size]))
        calls[where, POLICY] = (sample, (policy_params, keys["act"], states[:size]))
    timings = [time_interleaved(calls, **TIMING) for _ in range(NUM_TIMINGS)]
    for where, (size, _) in said.WHERE_ACTING.items():
        value, policy = ([t[where, who].median_s / size for t in timings] for who in (VALUE, POLICY))
        measured |= both_sides(f"{said.ACTING}: {where}", said.TIME, value, policy, sign=RATIO)
    return measured


def make_bandits(seed: int, num: int) -> environments.QuadraticBandit:
    """Random ones, stacked: the optimum inside the box, the curvature turned at random."""
    rng, made, (low, high) = np.random.default_rng(seed), [], np.log(CURVATURES)
    for _ in range(num):
        turned, _ = np.linalg.qr(rng.standard_normal((bandits.NUM_JOINTS,) * 2))
        sizes = np.exp(rng.uniform(low, high, bandits.NUM_JOINTS))
        optimum = rng.uniform(-0.8, 0.8, bandits.NUM_JOINTS)
        curvature = turned * sizes @ turned.T
        made.append(environments.quadratic_bandit(optimum, (curvature + curvature.T) / 2, NOISE_STD))
    return jax.tree.map(lambda *x: jnp.stack(x), *made)


def continuous_actions(num_seeds: int, seed: int) -> Values:
    """The regret of the action that each learner settles for; its setting chosen on other bandits."""
    evaluation = make_bandits(seed, num_seeds)
    tuning = make_bandits(seed + designs.TUNING_SEED, num_seeds)
    keys, tuning_keys = (
        jax.random.split(jax.random.key(s), num_seeds) for s in (seed, seed + designs.TUNING_SEED)
    )
    measured: Values = {}
    for name, (learner, kind) in bandits.LEARNERS.items():
        pull_all = functools.partial(bandits.pull_all_seeds, learner, kind)
        # Every try gets its own share of the tuning's bandits, so that one call does.
        tries = np.resize(np.asarray(learner.tries, np.float32), num_seeds)
        lost = np.asarray(pull_all(jax.random.clone(tuning_keys), tuning, tries))  # the same for all learners
        medians = [np.median(lost[tries == np.float32(x)]) for x in learner.tries[:num_seeds]]
        best = np.full(num_seeds, learner.tries[int(np.argmin(medians))], np.float32)
        lost = pull_all(jax.random.clone(keys), evaluation, best)
        measured[said.CONTINUOUS, name, said.REGRET] = np.asarray(lost)
    policy = measured[said.CONTINUOUS, "Gaussian policy", said.REGRET]
    for name in said.BANDIT_LEARNERS[1:]:
        lost = measured[said.CONTINUOUS, name, said.REGRET]
        measured[said.CONTINUOUS, f"{name} / Gaussian policy", said.REGRET] = lost / policy
    return measured


def stochastic_policies(study: Study, num_seeds: int, seed: int) -> Values:
    """Exact values of what was learned where states look alike, and exploitability in self-play."""
    aliased, game = (f"{said.STOCHASTIC}: {name}" for name in ("aliased gridworld", "rock-paper-scissors"))
    known = {"best without memory": environments.toward_treasure()}
    known["epsilon .1 between east and west in the grey cells"] = environments.toward_treasure(
        1 - said.EPSILON / 2
    )
    shaped = designs.in_runs_shape(num_seeds, list(known.values()))
    exact = dict(zip(known, designs.exact_values(study.instances.mdp, shaped)[-1, 0, :, 0], strict=False))
    index = designs.ENVIRONMENTS.index("aliased gridworld")
    value, policy = (side(study, who, "last", index) for who in ("value", "policy"))
    starts = np.random.default_rng(seed).dirichlet(np.ones(3), num_seeds)
    lost, average = jax.jit(jax.vmap(play_by_values))(starts)
    by_temperature = jax.jit(jax.vmap(jax.vmap(play_by_policy, (None, 0)), (0, None)))
    with_entropy, without = by_temperature(jnp.array([GAME_TEMPERATURE, 0.0]), starts)
    return {
        **{(aliased, name, said.FINAL): [value] for name, value in exact.items()},
        **both_sides(aliased, said.FINAL, value, policy),
        **both_sides(game, said.EXPLOITABILITY, lost, with_entropy),
        (game, "policy-based without entropy", said.EXPLOITABILITY): without,
        (game, "value-based, average of what it played", said.EXPLOITABILITY): average,
    }


def play_by_values(strategy: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rock-paper-scissors in self-play: the worst exploitability of the last steps, and the average strategy's."""
    dynamics = games.fictitious_play(epsilon=said.EPSILON)
    outcome, path = games.play(
        dynamics, games.rock_paper_scissors(), strategy, num_steps=GAME_STEPS, return_trajectory=True
    )
    return jnp.max(path.exploitability[-GAME_LAST:]), outcome.average_exploitability


def play_by_policy(temperature: jax.Array, strategy: jax.Array) -> jax.Array:
    """The same of a softmax policy, with entropy's weight."""
    dynamics = games.softmax_policy_gradient(learning_rate=GAME_RATE, temperature=temperature)
    _, path = games.play(
        dynamics, games.rock_paper_scissors(), strategy, num_steps=GAME_STEPS, return_trajectory=True
    )
    return jnp.max(path.exploitability[-GAME_LAST:])


def of_design(study: Study, topic: str, quantity: str, number: Any) -> Values:
    """One number of each run, by cell and environment, and its main effects."""
    by_cell = {cell: number(curves.acting) for cell, curves in study.curves.items()}
    shown = {said.CELLS[cell]: x for cell, x in by_cell.items()} | designs.effects(by_cell)
    return {
        (f"{topic}: {name}", who, quantity): x[index]
        for index, name in enumerate(designs.ENVIRONMENTS)
        for who, x in shown.items()
    }


def sample_efficiency(study: Study) -> Values:
    """The mean over training of the acting policy's normalized value."""
    values = of_design(study, said.EFFICIENCY, said.MEAN_VALUE, designs.efficiency)
    for index, name in enumerate(designs.ENVIRONMENTS):
        value, policy = (designs.efficiency(side(study, who, "greedy", index)) for who in ("value", "policy"))
        values[f"{said.EFFICIENCY}: {name}", said.GREEDY, said.MEAN_VALUE] = value - policy
    return values


def stability(study: Study) -> Values:
    """Falls in the second half of training, and how far the seeds end apart."""
    values = of_design(study, said.STABILITY, said.DRAWDOWN, designs.drawdown)
    spreads = {cell: designs.spread(curves.acting) for cell, curves in study.curves.items()}
    for index, name in enumerate(designs.ENVIRONMENTS):
        sides = [
            (spreads[f"{who}, on-policy"][index] + spreads[f"{who}, replay"][index]) / 2
            for who in ("value", "policy")
        ]
        values |= both_sides(f"{said.STABILITY}: {name}", said.SPREAD, *sides)
    return values


def two_states() -> environments.TabularMDP:
    """The first state leads to the second, which leads to itself, or to the end by chance; no reward."""
    transition = np.array([[0, 1, 0], [0, 1 - said.END, said.END], [0, 0, 1.0]])[:, None]
    return environments.tabular_mdp(transition, np.zeros((3, 1)), (1, 0, 0), terminal=np.arange(3) == 2)


FEATURES = np.array([1.0, 2.0, 0.0])


def td_gradient(w: jax.Array, state: jax.Array, following: jax.Array, weights: jax.Array | float) -> jax.Array:
    """The semi-gradient of TD(0) with values w * feature; `following` is the expected next feature."""
    targets = returns.lambda_returns(jnp.zeros_like(state), w * following, discount=said.TD_DISCOUNT, lambda_=0.0)
    return jax.grad(lambda w: losses.value_loss(w * state, targets, weights))(w)


def divergence(num_seeds: int, seed: int) -> Values:
    """The factor of w in an expected update, and its growth in sampled ones, off-policy and on-policy.

    Reference: Tsitsiklis & Van Roy (1996), Feature-based methods for large scale dynamic programming; Sutton &
        Barto (2018), Reinforcement learning, example 11.1.
    """
    where, mdp = f"{said.STABILITY}: TD, linear features, two states", two_states()
    with jax.enable_x64(True):
        features, keys = jnp.asarray(FEATURES), jax.random.split(jax.random.key(seed), num_seeds)

        @jax.jit
        def run(keys):
            following = jnp.asarray(mdp.transition[:, 0]) @ features
            visits = environments.occupancy(mdp, np.ones((3, 1)))
            weights = jnp.stack([jnp.array([0.5, 0.5, 0.0]), visits / jnp.sum(visits)])
            gradients = jax.vmap(td_gradient, (None, None, None, 0))(jnp.ones(()), features, following, weights)
            grown = jax.vmap(jax.vmap(sampled, (None, 0)), (0, None))(weights, keys)
            return 1 - said.TD_RATE * gradients, grown

        def sampled(probability, key):
            def update(w, key):
                key_state, key_next = jax.random.split(key)
                state = jax.random.categorical(key_state, jnp.log(probability), shape=(TD_BATCH,))
                step = functools.partial(environments.step, mdp=mdp, action=0)
                moved = jax.vmap(lambda key, s: step(key, state=s))(jax.random.split(key_next, TD_BATCH), state)
                gradient = td_gradient(w, features[state], features[moved.state], 1 / TD_BATCH)
                return w - said.TD_RATE * gradient, None

            w, _ = noise.scan_keys(update, jnp.ones(()), key, said.TD_UPDATES)
            return jnp.log10(jnp.abs(w))

        factors, grown = (np.asarray(x) for x in run(keys))
    values: Values = {}
    for name, factor, growth in zip(("off-policy", "on-policy"), factors, grown, strict=True):
        values[where, name, said.FACTOR], values[where, name, said.GROWTH] = [factor], growth
    return values | {(where, "off-policy - on-policy", said.GROWTH): grown[0] - grown[1]}


def figure_data(study: Study) -> dict[str, Any]:
    """Quartiles of the learning curves by cell and environment, the settings chosen, and which rows compare."""
    steps = learners.SEGMENT * learners.SEGMENTS_PER_POINT * np.arange(learners.NUM_POINTS + 1)
    return {
        "steps": steps.tolist(),
        "environments": list(designs.ENVIRONMENTS),
        "curves": {said.CELLS[cell]: designs.quartiles(curves.acting) for cell, curves in study.curves.items()},
        "comparisons": [
            {"condition": STATEMENTS[key].condition, "quantity": key[2], "neutral": neutral}
            for key, neutral in said.COMPARISONS.items()
        ],
        "settings": {said.CELLS[cell]: chosen.tolist() for cell, chosen in study.settings.items()},
    }
