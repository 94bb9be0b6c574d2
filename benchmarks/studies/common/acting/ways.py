"""Ways to act on a task, by a policy or by a search, each as one function of (params, key, states)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

import pgjax
from pgjax import maximizers
from studies.common.acting import learned, torch_policy
from studies.common.acting.tasks import ACTION_SIZE, Task
from studies.common.timing import mlp_flops


class Method(NamedTuple):
    """A way to act: act(params, key, states `[B, D]` or `[D]`) -> actions, or a `Maximum` that holds them.

    `jittable` is False for what JAX does not compile, a peer.
    """

    name: str
    family: str
    act: Callable[[Any, jax.Array, jax.Array], Any]
    params: Any
    flops_per_state: int
    flops_per_evaluation: int
    jittable: bool = True


class Search(NamedTuple):
    """Settings of one maximizer row, and on what the default run has it: nothing, the arm, or critics too."""

    name: str
    family: str
    maximizer: maximizers.Maximizer
    num_steps: int
    default: Literal["none", "arm", "critics"] = "arm"


SEARCHES = (
    Search("grid 3^6", "grid", maximizers.grid(num_points=3), 1),
    Search("grid 5^6", "grid", maximizers.grid(num_points=5), 1),
    Search("uniform 1024", "random search", maximizers.random_search(sequence="uniform"), 1, "none"),
    Search("Sobol 128", "random search", maximizers.random_search(num_samples=128), 1),
    Search("Sobol 1024", "random search", maximizers.random_search(), 1, "critics"),
    Search("Sobol 8192", "random search", maximizers.random_search(), 8),
    Search("CEM 2x64/6", "cross-entropy", maximizers.cross_entropy(), 2, "critics"),
    Search("CEM 3x64/10", "cross-entropy", maximizers.cross_entropy(num_elites=10), 3, "none"),
    Search("CEM 5x400/64", "cross-entropy", maximizers.cross_entropy(num_samples=400, num_elites=64), 5),
    Search("CEM 10x400/40", "cross-entropy", maximizers.cross_entropy(num_samples=400, num_elites=40), 10),
    Search("Adam 1x30", "gradient ascent", maximizers.gradient_ascent(num_starts=1), 30),
    Search("Adam 8x30", "gradient ascent", maximizers.gradient_ascent(num_starts=8), 30, "critics"),
    Search("Adam 64x100", "gradient ascent", maximizers.gradient_ascent(num_starts=64), 100),
)
POLICY_ROWS = ("Gaussian sample", "Gaussian mean", "categorical sample")
PEER_ROW = "PyTorch eager sample"
METHODS = (*POLICY_ROWS, PEER_ROW, *(search.name for search in SEARCHES))


def policy_methods(task: Task, key: jax.Array, training_steps: int) -> list[Method]:
    """The rows that act by a policy: trained on the arm, the chapter's network as initialized on critics."""
    state_size, num_dims = task.states.shape[-1], task.box.num_dims
    key_gaussian, key_categorical = jax.random.split(key)
    bins = (learned.NUM_BINS,) * num_dims
    if task.problem is None:
        gaussian, categorical = pgjax.GaussianPolicy(num_dims), pgjax.CategoricalPolicy(bins)
        gaussian_params = gaussian.init(key_gaussian, task.states[0])
        categorical_params = categorical.init(key_categorical, task.states[0])
    else:
        gaussian, categorical = (
            learned.gaussian_policy(task.problem),
            learned.categorical_policy(task.problem),
        )
        gaussian_params = learned.train_gaussian(task.problem, key_gaussian, training_steps)
        categorical_params = learned.train_categorical(task.problem, key_categorical, training_steps // 2)

    def sample_bins(params, key, states):
        return learned.bin_centers(task.box, pgjax.sample(categorical, params, key, states))

    flops = mlp_flops((state_size, 64, 64, sum(bins)))
    rows = [
        *gaussian_methods(task, gaussian, gaussian_params),
        Method(POLICY_ROWS[2], "policy", sample_bins, categorical_params, flops, 0),
    ]
    if task.problem is None and torch_policy.torch_available():
        rows.append(Method(PEER_ROW, "policy", torch_sample, (), rows[0].flops_per_state, 0, jittable=False))
    return rows


def gaussian_methods(task: Task, policy: pgjax.GaussianPolicy, params: Any) -> list[Method]:
    """The rows that act by a Gaussian policy: its sample and its mean."""

    def sample(params, key, states):
        return pgjax.sample(policy, params, key, states)

    def mean(params, key, states):
        del key
        return pgjax.mode(policy, params, states)

    flops = mlp_flops((task.states.shape[-1], 64, 64, task.box.num_dims))
    acts = zip(POLICY_ROWS, (sample, mean), strict=False)
    return [Method(name, "policy", act, params, flops, 0) for name, act in acts]


def torch_sample(params: Any, key: jax.Array, states: jax.Array) -> Any:
    """The chapter's policy in eager PyTorch, on observations of its own of the same shape."""
    del params, key
    return torch_policy.torch_policy_sample(ACTION_SIZE, states.shape)()


def search_named(name: str) -> Search:
    """The maximizer row of a name."""
    return next(search for search in SEARCHES if search.name == name)


def search_method(task: Task, search: Any, initial: Any = None) -> Method:
    """A maximizer on the task's objective; batched states share the noise and are worked on in blocks.

    Args:
        search: with the name, family, maximizer and num_steps of a `Search`.
        initial: actions to start from, `[B, N]`, or a function (key, state) -> actions `[K, N]`; None: the center.
    """

    def act(params, key, states):
        objective = functools.partial(task.objective, params)
        settings = {"box": task.box, "maximizer": search.maximizer, "num_steps": search.num_steps}
        if states.ndim > 1:
            starts = initial if initial is None or callable(initial) else initial[: len(states)]
            return pgjax.maximize_batch(key, objective, states, initial=starts, **settings)
        start = initial
        if callable(initial):
            key, key_propose = jax.random.split(key)
            start = initial(key_propose, states)
        elif initial is not None:
            start = initial[0]
        return pgjax.maximize(key, functools.partial(objective, states), initial=start, **settings)

    return Method(search.name, search.family, act, task.params, task.flops_per_state, task.flops_per_evaluation)


def actions_of(result: Any) -> jax.Array:
    """The actions of a decision."""
    return result.action if isinstance(result, pgjax.Maximum) else result


def counts_of(result: Any) -> tuple[int, int]:
    """Evaluations and gradients that one decision took; a policy takes none."""
    if not isinstance(result, pgjax.Maximum):
        return 0, 0
    return int(jnp.max(result.num_evaluations)), int(jnp.max(result.num_gradients))


def flops_per_decision(method: Method, num_evaluations: int, num_gradients: int) -> int:
    """Of the networks: a gradient in the action is one pass forward and one back through the same layers."""
    return method.flops_per_state + method.flops_per_evaluation * (num_evaluations + 2 * num_gradients)
