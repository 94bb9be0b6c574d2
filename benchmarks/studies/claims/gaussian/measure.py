"""Claim b: a Gaussian policy samples trivially, by one forward pass and one random number an action dimension.

Measured: that ours is the chapter's network; what sampling adds to a forward pass; the score's mean and the Fisher
matrix; the covariance of a = mu + Sigma^(1/2) epsilon; and when full covariance pays: where the reward couples the
actions, exactly and as learned from samples, and what it costs. The figure shows the gain, and both Gaussians.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax import losses
from pgjax.distributions import DiagonalNormal, MultivariateNormal
from pgjax.environments.bandits import quadratic_bandit
from pgjax.networks import scale_tril
from pgjax.noise import normal
from studies.claims.gaussian.learning import (
    GAPS,
    NUM_BELOW,
    NUM_DIMS,
    TEMPERATURE,
    equicorrelation,
    exact_gaps,
    gaps_of,
    learn_all,
)
from studies.claims.rows import Measuring, Statement, exactly, judge
from studies.common.provenance import ROOT
from studies.common.timing import time_interleaved

PARITY_DATA = np.load(ROOT / "tests" / "pgjax" / "data" / "seed_parity.npz")
PARITY_CASES = ("small", "arm")
PARITY_QUANTITIES = ("means", "stds", "log_probs", "gradients of the mean log_prob")
BATCH_SIZE, LOOP_STEPS = 4096, 1000
NUM_REPEATS = 8  # of the timing: independent measurements of a ratio of medians
NUM_GROUPS, GROUP_SIZE = 40, 500  # of sampled actions, for each seed
NUM_SAMPLES = NUM_GROUPS * GROUP_SIZE
PLANE_CORRELATION, PLANE_SAMPLES, CURVE = 0.9, 150, np.linspace(0, 0.995, 120)

POLICY = f"Gaussian policy, two layers of 64, {NUM_DIMS} actions"
RATIO = "time of a sample / bare forward pass"
DIAGONAL, FULL = "diagonal Gaussian, random parameters", "full Gaussian, random parameters"
SCORE = f"squared mean of {GROUP_SIZE} whitened scores, times {GROUP_SIZE}"
COVARIANCE = f"squared error of the whitened sample covariance, times its {GROUP_SIZE} samples"
WISHART = NUM_DIMS * (NUM_DIMS + 1.0)
PARITY = "the chapter's network in float64, against PyTorch"
QUADRATIC = f"-(a - a*)^T H (a - a*) + tau entropy, {NUM_DIMS} actions, equicorrelation {{:g}}"
GAIN = "gap of full and diagonal / tau"
STATEMENTS: dict[str, Statement] = {
    # The chapter: sampling is trivial. The project's goal for "trivial" is 1.3 times the forward pass.
    "time 1": Statement(f"{POLICY}, batch of 1", RATIO, high=1.3, says="chapter"),
    f"time {BATCH_SIZE}": Statement(f"{POLICY}, batch of {BATCH_SIZE:,}", RATIO, high=1.3, says="chapter"),
    "time loop": Statement(f"{POLICY}, batch of 1 in a jitted loop, no dispatch", RATIO, high=1.3),
    "time ahead": Statement(f"{POLICY}, batch of 1 in a jitted loop, noise drawn ahead of it", RATIO, high=1.3),
    "control": Statement(f"{POLICY}, batch of 1", "time of a sample, s: within a 1 kHz loop", high=1e-3),
    **{
        f"parity {name}": exactly(PARITY, f"{name}: relative error", 0.0, absolute=1e-10)
        for name in PARITY_QUANTITIES
    },
    # What its gradients are made of.
    "score mean": exactly(DIAGONAL, "E[score], whitened: average component", 0.0, absolute=0.005),
    "score size": exactly(DIAGONAL, SCORE, 2.0 * NUM_DIMS, relative=0.1),
    "fisher mean": exactly(DIAGONAL, "E[score^2] sigma^2 of the mean", 1.0, relative=0.03),
    "fisher log_std": exactly(DIAGONAL, "E[score^2] of log_std", 2.0, relative=0.03),
    "fisher off": exactly(DIAGONAL, "whitened E[score score^T] off the diagonal, rms", 0.0, absolute=0.015),
    "fisher full": exactly(FULL, "whitened E[score score^T] of the mean less I, rms", 0.0, absolute=0.015),
    "kl_fisher": exactly(DIAGONAL, "kl_fisher against (Sigma^-1, 2I): relative error", 0.0, absolute=1e-9),
    "kl_fisher full": exactly(FULL, "kl_fisher of the mean against Sigma^-1: rel. error", 0.0, absolute=1e-9),
    # By pgjax, with the Cholesky factor; and by the chapter's formula, read with the symmetric root.
    "covariance": exactly(f"{FULL}, a = mu + L epsilon", COVARIANCE, WISHART, relative=0.1),
    "covariance root": exactly(f"{FULL}, a = mu + Sigma^(1/2) epsilon", COVARIANCE, WISHART, relative=0.1),
    # When full covariance pays, and when it does not.
    **{f"gap {r:g}": exactly(QUADRATIC.format(r), GAIN, gap, absolute=error) for r, (gap, error) in GAPS.items()},
    **{
        f"learned {r:g}": exactly(f"learned: {QUADRATIC.format(r)}", GAIN, gap, absolute=0.05 * max(gap, 1))
        for r, (gap, _) in GAPS.items()
    },
    "full sample": Statement(f"{POLICY}, batch of {BATCH_SIZE:,}", "time of a sample, full / diagonal", high=1.5),
    "full log_prob": Statement(f"{POLICY}, batch of {BATCH_SIZE:,}", "time of log_prob, full / diagonal", high=2),
    "full shared": exactly(f"{POLICY}, shared spread", "parameters, full less diagonal", NUM_BELOW),
    "full per_state": exactly(f"{POLICY}, spread per state", "parameters, full less diagonal", 65 * NUM_BELOW),
}


def measure(*, num_seeds: int, seed: int) -> Measuring:
    """Measure the claim; the figure has the gain exact and learned, and two Gaussians in the plane.

    Args: num_seeds: of sampled Gaussians and of learning; seed: of them all.
    """
    keys_moments, keys_learning = jax.random.split(jax.random.key(seed), (2, num_seeds))
    yield "rounds", measure_times()
    learned = learn_all(keys_learning)
    with jax.enable_x64(True):
        moments = jax.jit(functools.partial(jax.lax.map, moments_of_seed))(keys_moments)
        cases = {**parity(), **num_parameters(), **{k: moments.pop(k) for k in ("kl_fisher", "kl_fisher full")}}
        exact = np.asarray(jax.jit(jax.vmap(exact_gaps))(np.stack([*map(equicorrelation, (*GAPS, *CURVE))])))
        gaps_learned = gaps_of(*learned)
        plane = gaussians_in_the_plane(seed)
    cases |= {f"gap {r:g}": gaps for r, gaps in zip(GAPS, exact, strict=False)}
    yield "cases", cases
    of_learning = {f"learned {r:g}": gaps for r, gaps in zip(GAPS, gaps_learned, strict=True)}
    yield "seeds", moments | of_learning
    curve = {"correlation": CURVE.tolist(), "gap": exact[len(GAPS) :, 0].tolist()}
    rows = [judge(STATEMENTS[name], gaps) for name, gaps in of_learning.items()]
    points = [
        {"correlation": r, "value": row["value"], "interval": row["interval"]}
        for r, row in zip(GAPS, rows, strict=True)
    ]
    return {"num_dims": NUM_DIMS, "num_seeds": num_seeds, "curve": curve, "learned": points, "plane": plane}


def parity() -> dict[str, list[float]]:
    """The relative error of what the chapter's network gives, for each case of the file."""
    errors: dict[str, list[float]] = {f"parity {name}": [] for name in PARITY_QUANTITIES}
    for case in PARITY_CASES:
        arrays = ("observation", "action", "mean_action", "std", "log_prob")
        observation, action, means, std, log_probs = (PARITY_DATA[f"{case}/{name}"] for name in arrays)
        policy = pgjax.GaussianPolicy(action.shape[-1], param_dtype=jnp.float64)
        ours = jax.jit(functools.partial(what_a_policy_gives, policy))(parameters(case), observation, action)
        theirs = (means, np.broadcast_to(std, means.shape), log_probs, parameters(case, "grad/"))
        for name, given, expected in zip(errors, ours, theirs, strict=True):
            errors[name].append(relative_error(given, expected))
    return errors


def parameters(case: str, prefix: str = "") -> dict[str, Any]:
    """The parameters of a case, or under the prefix "grad/" their gradients."""

    def layer(name: str) -> dict[str, np.ndarray]:
        return {k: PARITY_DATA[f"{case}/{prefix}{name}/{k}"] for k in ("kernel", "bias")}

    torso = {name: layer(name) for name in ("dense_0", "dense_1")}
    return {"params": {"torso": torso, "mean": layer("mean"), "log_std": PARITY_DATA[f"{case}/{prefix}log_std"]}}


def what_a_policy_gives(policy: pgjax.GaussianPolicy, params: Any, observation: Any, action: Any) -> tuple:
    """The quantities of the parity, by pgjax."""
    pi = pgjax.distribution(policy, params, observation)
    log_probs = pgjax.log_prob(policy, params, observation, action)
    gradients = jax.grad(lambda params: jnp.mean(pgjax.log_prob(policy, params, observation, action)))(params)
    return pi.mean(), pi.stddev(), log_probs, gradients


def relative_error(given: Any, expected: Any) -> float:
    """The largest error of any array of a tree, relative to that array's largest entry."""
    errors = jax.tree.map(
        lambda x, y: float(np.max(np.abs(np.asarray(x) - y)) / np.max(np.abs(y))), given, expected
    )
    return max(jax.tree.leaves(errors))


def measure_times() -> dict[str, list[float]]:
    """Ratios of median times, and the seconds of one sample; a value for each repeat."""
    made = {name: pgjax.GaussianPolicy(NUM_DIMS, covariance=name) for name in ("diagonal", "full")}
    params = {"diagonal": jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), parameters("arm"))}
    params["full"] = {"params": params["diagonal"]["params"] | {"below": jnp.zeros(NUM_BELOW)}}
    many = jnp.asarray(np.random.default_rng(0).standard_normal((BATCH_SIZE, NUM_DIMS)), jnp.float32)
    one, key = many[0], jax.random.key(0)

    def call(function, *args, covariance="diagonal"):
        return jax.jit(functools.partial(function, made[covariance])), (params[covariance], *args)

    calls = {
        "forward": call(pgjax.mode, one),
        "sample": call(pgjax.sample, key, one),
        "loop forward": call(functools.partial(rollout, "none"), key, one),
        "loop sample": call(functools.partial(rollout, "each step"), key, one),
        "loop sample, noise ahead": call(functools.partial(rollout, "ahead"), key, one),
        "many forward": call(pgjax.mode, many),
        "many sample": call(pgjax.sample, key, many),
        "many sample, full": call(pgjax.sample, key, many, covariance="full"),
        "many log_prob": call(pgjax.log_prob, many, many),
        "many log_prob, full": call(pgjax.log_prob, many, many, covariance="full"),
    }
    ratios = {
        "time 1": ("sample", "forward"),
        f"time {BATCH_SIZE}": ("many sample", "many forward"),
        "time loop": ("loop sample", "loop forward"),
        "time ahead": ("loop sample, noise ahead", "loop forward"),
        "full sample": ("many sample, full", "many sample"),
        "full log_prob": ("many log_prob, full", "many log_prob"),
    }
    measured: dict[str, list[float]] = {name: [] for name in (*ratios, "control")}
    for _ in range(NUM_REPEATS):
        timings = time_interleaved(calls, min_time_s=0.02, max_time_s=0.1, num_rounds=3)
        for name, (ours, base) in ratios.items():
            measured[name].append(timings[ours].median_s / timings[base].median_s)
        measured["control"].append(timings["sample"].median_s)
    return measured


def rollout(
    noise: Literal["none", "each step", "ahead"], policy: pgjax.GaussianPolicy, params: Any, key: Any, state: Any
) -> jax.Array:
    """The last state of a loop in which each action moves the state a little; noise is drawn as said."""

    def step(state, drawn):
        pi = pgjax.distribution(policy, params, state)
        action = pi.sample(seed=drawn) if noise == "each step" else pi.mean()
        action = action + pi.stddev() * drawn if noise == "ahead" else action
        return 0.9 * state + 0.1 * action, None

    shape = (LOOP_STEPS, NUM_DIMS)
    draws = normal(key, shape) if noise == "ahead" else jax.random.split(key, LOOP_STEPS)
    return jax.lax.scan(step, state, draws)[0]


def num_parameters() -> dict[str, list[float]]:
    """By how many parameters the policy with full covariance is larger."""

    def count(**settings: Any) -> int:
        policy = pgjax.GaussianPolicy(NUM_DIMS, **settings)
        params = jax.eval_shape(policy.init, jax.random.key(0), jnp.zeros(NUM_DIMS))
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    return {f"full {std}": [count(std=std, covariance="full") - count(std=std)] for std in ("shared", "per_state")}


def moments_of_seed(key: jax.Array) -> dict[str, jax.Array]:
    """Monte Carlo moments of scores and samples of two random Gaussians, by the statements' names."""
    key_pi, key_diagonal, key_full, key_root = jax.random.split(key, 4)
    diagonal, full = random_gaussians(key_pi)
    inverse = jnp.linalg.inv(full.scale_tril)
    precision = inverse.T @ inverse
    exact = jnp.concatenate([jnp.exp(-2 * diagonal.log_std), jnp.full(NUM_DIMS, 2.0)])
    actions, samples = (
        pi.sample(seed=k, sample_shape=NUM_SAMPLES) for pi, k in ((diagonal, key_diagonal), (full, key_full))
    )
    of_diagonal = (lambda x: DiagonalNormal(*jnp.split(x, 2)), jnp.concatenate([diagonal.loc, diagonal.log_std]))
    of_full = (lambda x: MultivariateNormal(x, full.scale_tril), full.loc)
    fisher, fisher_full = fisher_matrix(*of_diagonal), fisher_matrix(*of_full)
    whitened = scores(*of_diagonal, actions) / jnp.sqrt(exact)[None]
    second, second_full = second_moment(whitened), second_moment(scores(*of_full, samples) @ full.scale_tril)
    variances = jnp.diagonal(second)
    group_means = jnp.mean(whitened.reshape(NUM_GROUPS, GROUP_SIZE, -1), axis=1)
    return {
        "score mean": jnp.mean(whitened),
        "score size": GROUP_SIZE * jnp.mean(jnp.sum(group_means**2, axis=-1)),
        "fisher mean": jnp.mean(variances[:NUM_DIMS]),
        "fisher log_std": 2 * jnp.mean(variances[NUM_DIMS:]),
        "fisher off": rms(second[~np.eye(2 * NUM_DIMS, dtype=bool)]),
        "fisher full": rms(second_full - jnp.eye(NUM_DIMS)),
        "kl_fisher": jnp.max(jnp.abs(fisher - jnp.diag(exact))) / jnp.max(exact),
        "kl_fisher full": jnp.max(jnp.abs(fisher_full - precision)) / jnp.max(jnp.abs(precision)),
        "covariance": covariance_error((samples - full.loc[None]) @ inverse.T),
        "covariance root": covariance_error(noise_by_symmetric_root(full, key_root) @ inverse.T),
    }


def random_gaussians(key: jax.Array) -> tuple[DiagonalNormal, MultivariateNormal]:
    """A diagonal and a full Gaussian with random parameters."""
    key_mean, key_log_std, key_below = jax.random.split(key, 3)
    mean = jax.random.normal(key_mean, (NUM_DIMS,))
    log_std = jax.random.uniform(key_log_std, (NUM_DIMS,), minval=-1.0)
    below = 0.5 * jax.random.normal(key_below, (NUM_BELOW,))
    return DiagonalNormal(mean, log_std), MultivariateNormal(mean, scale_tril(log_std, below))


def fisher_matrix(distribution_fn: Callable[[jax.Array], Any], params: jax.Array) -> jax.Array:
    """The Fisher matrix, a product with each unit vector."""
    return jax.vmap(losses.kl_fisher(distribution_fn, params))(jnp.eye(params.size))


def scores(distribution_fn: Callable[[jax.Array], Any], params: jax.Array, actions: jax.Array) -> jax.Array:
    """The gradients of each action's log probability in the parameters, `[n, parameters]`."""
    return jax.vmap(jax.grad(lambda x, action: distribution_fn(x).log_prob(action)), (None, 0))(params, actions)


def noise_by_symmetric_root(pi: MultivariateNormal, key: jax.Array) -> jax.Array:
    """Samples less their mean, Sigma^(1/2) epsilon with the symmetric root, `[n, N]`."""
    eigenvalues, vectors = jnp.linalg.eigh(pi.covariance())
    root = (vectors * jnp.sqrt(eigenvalues)[None]) @ vectors.T
    return jax.random.normal(key, (NUM_SAMPLES, NUM_DIMS)) @ root


def covariance_error(whitened: jax.Array) -> jax.Array:
    """|L^-1 S L^-T - I|^2 times the samples of a group, mean over groups; N (N + 1) where S is Wishart.

    Args: whitened: L^-1 (a - mu), `[n, N]`.
    """
    grouped = whitened.reshape(NUM_GROUPS, GROUP_SIZE, NUM_DIMS)
    errors = jax.vmap(second_moment)(grouped) - jnp.eye(NUM_DIMS)[None]
    return GROUP_SIZE * jnp.mean(jnp.sum(errors**2, axis=(-2, -1)))


def second_moment(x: jax.Array) -> jax.Array:
    """E[x x^T] over the rows."""
    return x.T @ x / x.shape[0]


def rms(x: jax.Array) -> jax.Array:
    """The root of the mean square."""
    return jnp.sqrt(jnp.mean(x**2))


def gaussians_in_the_plane(seed: int) -> dict[str, Any]:
    """The best diagonal and the best full Gaussian of two coupled actions, with samples."""
    bandit = quadratic_bandit(np.zeros(2), equicorrelation(PLANE_CORRELATION, 2))
    diagonal, full = jax.jit(lambda: (bandit.best_diagonal(TEMPERATURE), bandit.best_full(TEMPERATURE)))()
    roots = {"diagonal": np.diag(diagonal.stddev()), "full": np.asarray(full.scale_tril)}
    rng = np.random.default_rng(seed)
    samples = {name: rng.standard_normal((PLANE_SAMPLES, 2)) @ root.T for name, root in roots.items()}
    return {
        "correlation": PLANE_CORRELATION,
        "curvature": bandit.curvature.tolist(),
        "gap": float(bandit.covariance_gap(TEMPERATURE)) / TEMPERATURE,
        "covariance": {name: (root @ root.T).tolist() for name, root in roots.items()},
        "samples": {name: np.round(points, 3).tolist() for name, points in samples.items()},
    }
