"""Claim f: policies handle large action sets.

A flat softmax has a logit for each action, as a flat Q-head has a value: both take time O(|A|). Measured: time per
decision against |A| = 10 ... 1,000,000 of both, and of what does not grow: one choice in each of six dimensions,
sampled from a policy (at once, or one after the other) or taken greedily from values; and a Gaussian. The figure
shows the times.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax.networks import MLP
from studies.claims.rows import Measuring, Statement, exactly
from studies.common.acting import tasks
from studies.common.timing import time_interleaved

NUM_DIMS, WIDTH = tasks.ACTION_SIZE, 64
ACTION_COUNTS = tuple(10**k for k in range(1, 7))
# Batch size -> the most actions timed; 16 softmax samples of 1,000,000 actions would take seconds and gigabytes.
LARGEST = {1: 1_000_000, 16: 100_000}
NUM_ROUNDS = 9  # a value of every time, ratio and slope for each
LIMITS: dict[str, Any] = {"min_time_s": 0.005, "max_time_s": 0.03, "min_repetitions": 5, "num_rounds": 1}
NUM_FITTED = 3  # the largest numbers of actions, for the slope

FLAT, FACTORED = "flat", f"{NUM_DIMS} dimensions"
ARGMAX, SOFTMAX = f"{FLAT} argmax", f"{FLAT} softmax sample"
SAMPLE, SEQUENTIAL, GREEDY = f"{FACTORED}, sample", f"{FACTORED}, sample in turn", f"{FACTORED}, argmax"
GAUSSIAN = "Gaussian sample"
WAYS = (ARGMAX, SOFTMAX, SAMPLE, SEQUENTIAL, GREEDY, GAUSSIAN)


def _statements() -> dict[tuple[str, int], Statement]:
    """By what is measured and the batch size (0 for parameters)."""
    made: dict[tuple[str, int], Statement] = {}
    for batch_size, most in LARGEST.items():
        where = f"{most:,} actions, batch of {batch_size}"
        least = most // 10 ** (NUM_FITTED - 1)
        span = f"{least:,} to {most:,} actions, batch of {batch_size}"

        def ratio(name: str, slow: str, fast: str, batch_size=batch_size, where=where, **said: Any) -> None:
            made[name, batch_size] = Statement(where, f"time of {slow} / {fast}", **said)

        # The chapter: a policy samples where values need a maximum over all actions, so it should cost no more.
        ratio("chapter", SOFTMAX, ARGMAX, high=1.0, says="chapter")
        for name, way in (("slope softmax", SOFTMAX), ("slope argmax", ARGMAX)):
            made[name, batch_size] = Statement(span, f"log-log slope of the time of {way}", 0.75, 1.25)
        # What the chapter leaves out: the gain is from factoring, on either side, or from a Gaussian.
        ratio("factored", SAMPLE, ARGMAX, high=0.1)
        ratio("in turn", SEQUENTIAL, ARGMAX, high=0.1)
        ratio("Gaussian", GAUSSIAN, ARGMAX, high=0.1)
        ratio("values factored", GREEDY, ARGMAX, high=0.1)
        ratio("values or policy", GREEDY, SAMPLE, high=1.0)
        fewest = ACTION_COUNTS[0]
        made["growth", batch_size] = Statement(
            f"{SAMPLE}, batch of {batch_size}", f"time with {most:,} actions / with {fewest:,}", high=2.0
        )
        made["few", batch_size] = Statement(
            f"{fewest} actions, batch of {batch_size}", f"time of {SOFTMAX} / {SAMPLE}", 0.5, 2.0
        )
    head = f"parameters of the last layer for {ACTION_COUNTS[-1]:,} actions"
    num_bins = bins(ACTION_COUNTS[-1])
    made["parameters " + FLAT, 0] = exactly(FLAT, head, (WIDTH + 1.0) * ACTION_COUNTS[-1])
    made["parameters " + FACTORED, 0] = exactly(FACTORED, head, (WIDTH + 1.0) * NUM_DIMS * num_bins)
    made["parameters " + GAUSSIAN, 0] = exactly("Gaussian, shared spread", head, (WIDTH + 2.0) * NUM_DIMS)
    return made


def bins(num_actions: int) -> int:
    """Bins a dimension that together make at least so many actions."""
    return math.ceil(round(num_actions ** (1 / NUM_DIMS), 9))


STATEMENTS = _statements()
Times = Mapping[
    tuple[str, int, int], np.ndarray
]  # (way, |A|, batch size) -> a median for each round, s a decision


def measure(*, num_seeds: int, seed: int) -> Measuring:
    """Measure the claim; the figure has the times.

    Args: num_seeds: not used, as times have rounds and no seeds; seed: of parameters and observations.
    """
    del num_seeds
    yield "cases", {("parameters " + name, 0): [number] for name, number in num_parameters().items()}
    times = measure_times(seed)
    yield "rounds", ratios(times)
    return figure_data(times)


def ratios(times: Times) -> dict[tuple[str, int], np.ndarray]:
    """What the statements are about, from the times of each round."""
    values: dict[tuple[str, int], np.ndarray] = {}
    for batch_size, most in LARGEST.items():
        at, few = ({way: times[way, count, batch_size] for way in WAYS} for count in (most, ACTION_COUNTS[0]))
        measured = {
            "chapter": at[SOFTMAX] / at[ARGMAX],
            "slope softmax": slopes(times, SOFTMAX, batch_size),
            "slope argmax": slopes(times, ARGMAX, batch_size),
            "factored": at[SAMPLE] / at[ARGMAX],
            "in turn": at[SEQUENTIAL] / at[ARGMAX],
            "Gaussian": at[GAUSSIAN] / at[ARGMAX],
            "values factored": at[GREEDY] / at[ARGMAX],
            "values or policy": at[GREEDY] / at[SAMPLE],
            "growth": at[SAMPLE] / few[SAMPLE],
            "few": few[SOFTMAX] / few[SAMPLE],
        }
        values |= {(name, batch_size): rounds for name, rounds in measured.items()}
    return values


def figure_data(times: Times) -> dict[str, Any]:
    """Times of each way by batch size and number of actions."""
    lines = [
        {"way": way, "batch_size": batch_size}
        | {"num_actions": list(counts(batch_size))}
        | {"times_s": [times[way, count, batch_size].tolist() for count in counts(batch_size)]}
        for batch_size in LARGEST
        for way in WAYS
    ]
    return {"lines": lines, "num_dims": NUM_DIMS}


def counts(batch_size: int) -> tuple[int, ...]:
    """The numbers of actions timed at a batch size."""
    return tuple(count for count in ACTION_COUNTS if count <= LARGEST[batch_size])


def slopes(times: Times, way: str, batch_size: int) -> np.ndarray:
    """The slope of log time on log |A| over the largest numbers of actions, for each round."""
    fitted = counts(batch_size)[-NUM_FITTED:]
    logs = np.log([times[way, count, batch_size] for count in fitted])
    return np.polyfit(np.log(fitted), logs, 1)[0]


def measure_times(seed: int) -> dict[tuple[str, int, int], np.ndarray]:
    """Seconds a decision, a median for each round in which all ways and sizes take their turn."""
    key, rng = jax.random.key(seed), np.random.default_rng(seed)
    calls: dict[tuple[str, int, int], tuple[Callable[..., Any], tuple[Any, ...]]] = {}
    for count in ACTION_COUNTS:
        ways = ways_of(count, rng)
        for batch_size in (size for size in LARGEST if count in counts(size)):
            shape = (tasks.STATE_SIZE,) if batch_size == 1 else (batch_size, tasks.STATE_SIZE)
            observation = jnp.asarray(rng.standard_normal(shape), jnp.float32)
            for way, (act, params) in ways.items():
                calls[way, count, batch_size] = (jax.jit(act), (params, key, observation))
    named = {str(name): call for name, call in calls.items()}
    rounds = [time_interleaved(named, **LIMITS) for _ in range(NUM_ROUNDS)]
    return {name: np.asarray([timings[str(name)].median_s for timings in rounds]) / name[2] for name in calls}


def ways_of(num_actions: int, rng: np.random.Generator) -> dict[str, tuple[Callable[..., Any], Any]]:
    """Each way to act as a function of (params, key, observation), with parameters."""
    factors = (bins(num_actions),) * NUM_DIMS
    values, logits = pgjax.QValues(num_actions, activation=nn.tanh), pgjax.CategoricalPolicy(num_actions)
    factored, per_dim = pgjax.CategoricalPolicy(factors), pgjax.QValues(sum(factors), activation=nn.tanh)
    in_turn, gaussian = ChoicesInTurn(factors), pgjax.GaussianPolicy(NUM_DIMS)

    def greedy(params, key, observation):
        del key
        return jnp.argmax(cast(jax.Array, values.apply(params, observation)), axis=-1)

    def greedy_per_dim(params, key, observation):
        del key
        q = cast(jax.Array, per_dim.apply(params, observation))
        return jnp.argmax(q.reshape(*q.shape[:-1], NUM_DIMS, -1), axis=-1)

    def sample_from(policy):
        return functools.partial(pgjax.sample, policy), parameters(policy, rng)

    of_policy = parameters(logits, rng)
    flat = {"torso": of_policy["params"]["torso"], "values": of_policy["params"]["logits"]}  # the same arrays
    return {
        ARGMAX: (greedy, {"params": flat}),
        SOFTMAX: (functools.partial(pgjax.sample, logits), of_policy),
        SAMPLE: sample_from(factored),
        SEQUENTIAL: (in_turn.apply, parameters(in_turn, rng, jax.random.key(0))),
        GREEDY: (greedy_per_dim, parameters(per_dim, rng)),
        GAUSSIAN: sample_from(gaussian),
    }


class ChoicesInTurn(nn.Module):
    """An autoregressive policy: a choice in each dimension, given those before; called with (key, observation)."""

    num_actions: tuple[int, ...]

    @nn.compact
    def __call__(self, key: jax.Array, observation: jax.Array) -> jax.Array:
        features, chosen = MLP((WIDTH, WIDTH), name="torso")(observation), []
        for size, key_choice in zip(self.num_actions, jax.random.split(key, len(self.num_actions)), strict=True):
            choice = pgjax.distributions.Categorical(nn.Dense(size)(features)).sample(seed=key_choice)
            features = nn.tanh(features + nn.Embed(size, WIDTH)(choice))
            chosen.append(choice)
        return jnp.stack(chosen, axis=-1)


def parameters(module: nn.Module, rng: np.random.Generator, *inputs: Any) -> Any:
    """Random parameters, drawn by NumPy: a network's own initialization takes seconds for 64 million numbers."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs, jnp.zeros(tasks.STATE_SIZE))
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape, np.float32) / WIDTH**0.5, leaf.dtype), shapes
    )


def num_parameters() -> dict[str, int]:
    """Parameters after the torso of a flat softmax, a factored one and a Gaussian."""
    num_actions = ACTION_COUNTS[-1]
    made = {
        FLAT: pgjax.CategoricalPolicy(num_actions),
        FACTORED: pgjax.CategoricalPolicy((bins(num_actions),) * NUM_DIMS),
        GAUSSIAN: pgjax.GaussianPolicy(NUM_DIMS),
    }

    def count(policy: nn.Module) -> int:
        shapes = jax.eval_shape(policy.init, jax.random.key(0), jnp.zeros(tasks.STATE_SIZE))["params"]
        return sum(leaf.size for name in shapes if name != "torso" for leaf in jax.tree.leaves(shapes[name]))

    return {name: count(policy) for name, policy in made.items()}
