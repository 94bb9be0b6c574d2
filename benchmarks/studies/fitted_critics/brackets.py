"""Brackets on a critic's maximum over its box: Sobol points and local searches below, certified bounds above."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import optimize
from scipy.stats import qmc

import pgjax
from pgjax.maximizers import branch_and_bound
from pgjax.problems import critics

CHUNK = 128  # Sobol points at a time, for all states: few enough for the activations to stay in the caches
NUM_STARTS = 128  # for each state, climbed by projected Adam
NUM_POLISHED = 16  # of these, climbed further by L-BFGS-B
ADAM_STEPS, ADAM_RATES = 300, (2e-2, 1e-5)  # rates in units of the box, falling by a constant factor
NUM_PIECES = 8  # of a ReLU critic, tried around a vertex
NUM_UNIFORM = 2**14
GAP = 1e-3  # of the proof, in units of maximum - mean
BOXES_PER_STEP = 1024


def bracket(critic: critics.Critic, states: np.ndarray, known: np.ndarray, log2_samples: int) -> critics.Brackets:
    """Lower ends for the states `[B, D]`; `known` are actions `[B, N]` worth a local search of their own."""
    sobol_value, starts = sobol_search(critic, states, log2_samples)
    starts = np.concatenate([starts, known[:, None]], axis=1)
    climbed = adam_search(critic.module, critic.params, states, jnp.asarray(starts, jnp.float32))
    climbed = np.asarray(climbed, np.float64)
    sobol_climbed, adam_value, lbfgs_value, maximum = np.empty((4, len(states)))
    best_action = np.empty(known.shape)
    for i, state in enumerate(states):
        layers = layers_of(critic, state)
        value_and_grad = layers.value_and_grad
        values = np.asarray([value_and_grad(action)[0] for action in climbed[i]])
        order = np.argsort(-values)[:NUM_POLISHED]
        sobol_climbed[i] = climb(value_and_grad, starts[i, :1], critic.box)[1]
        adam_value[i] = values[order[0]]
        candidates = np.concatenate([climbed[i, order], starts[i, :1]])
        lbfgs_value[i] = climb(value_and_grad, candidates, critic.box)[1]
        best_action[i], maximum[i] = polish(layers, candidates, critic.box)
    record = {
        "how": f"2^{log2_samples} Sobol points; projected Adam in float32 from {NUM_STARTS} of the best and the "
        f"arm's solution; L-BFGS-B in float64 from the best {NUM_POLISHED} and the best Sobol point; ReLU: linear "
        "programs over linear pieces",
        "sobol_value": sobol_value,
        "sobol_lbfgs_value": sobol_climbed,
        "adam_value": adam_value,
        "lbfgs_value": lbfgs_value,
        "uniform_mean": uniform_mean(critic, states),
    }
    return critics.Brackets(states, maximum, best_action, np.full(len(states), np.inf), record)


def certify(critic: critics.Critic, found: critics.Brackets, num_boxes: int) -> critics.Brackets:
    """Bound the maxima from above by branch and bound in float64, and raise the lower ends where it finds better.

    Stops at a gap of 1e-3 (maximum - mean) or after about num_boxes boxes. Lower bounds already known stay.
    """
    scale = found.maximum - found.record["uniform_mean"]
    scale = np.where(scale > 0, scale, 1.0)  # a lower end may be no better than chance
    best_action, maximum, upper_bound = found.best_action.copy(), found.maximum.copy(), found.upper_bound.copy()
    maximizer = branch_and_bound(gap=GAP, boxes_per_step=BOXES_PER_STEP, capacity=1 << 17)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), critic.params)

        @jax.jit
        def search(state, action, scale):
            return pgjax.maximize(
                jax.random.key(0),
                lambda action: critic.module.apply(params, state, action) / scale,
                critic.box,
                maximizer,
                num_steps=num_boxes // BOXES_PER_STEP,
                initial=action,
            )

        for i, state in enumerate(found.states.astype(np.float64)):
            result = search(state, found.best_action[i], scale[i])
            upper_bound[i] = min(upper_bound[i], float(result.upper_bound) * scale[i])
            action, value = polish(layers_of(critic, state), np.asarray(result.action)[None], critic.box)
            if value > maximum[i]:
                best_action[i], maximum[i] = action, value
    upper_bound = np.maximum(upper_bound, maximum)  # the value and the bound are rounded apart
    record = found.record | {"certified": f"branch and bound in float64, gap {GAP:g}, at most {num_boxes} boxes"}
    return critics.Brackets(found.states, maximum, best_action, upper_bound, record)


def sobol_search(critic: critics.Critic, states: np.ndarray, log2_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The best value of scrambled Sobol points, and starts `[B, K, N]` far from one another, the best one first.

    Points that follow one another in the sequence fill the box, so the best of each chunk are spread out.
    """
    points = qmc.Sobol(critic.box.num_dims, rng=np.random.default_rng(0)).random_base2(log2_samples)
    actions = critic.box.low + (critic.box.high - critic.box.low) * points
    chunks = actions.astype(np.float32).reshape(-1, CHUNK, critic.box.num_dims)
    values, indices = (np.asarray(part) for part in best_of_chunks(critic.module, critic.params, states, chunks))
    order = np.argsort(-values, axis=0)[:NUM_STARTS].T
    rows = np.arange(len(states))[:, None]
    starts = chunks[order, indices[order, rows]].astype(np.float64)
    return values[order[:, 0], rows[:, 0]].astype(np.float64), starts


@functools.partial(jax.jit, static_argnums=0)
def best_of_chunks(module: pgjax.QNetwork, params: Any, states: jax.Array, chunks: jax.Array) -> Any:
    """Largest value and its index in every chunk `[C, K, N]`, for every state: each `[C, B]`."""

    def of_chunk(actions):
        values = cast(jax.Array, module.apply(params, states[:, None], actions[None]))
        return jnp.max(values, axis=1), jnp.argmax(values, axis=1)

    return jax.lax.map(of_chunk, chunks)


@functools.partial(jax.jit, static_argnums=0)
def adam_search(module: pgjax.QNetwork, params: Any, states: jax.Array, starts: jax.Array) -> jax.Array:
    """The best action on the way of each start `[B, K, N]` in [-1, 1]^N, all climbed side by side."""
    first, last = ADAM_RATES
    optimizer = optax.adam(optax.exponential_decay(first, ADAM_STEPS, last / first))

    def total(actions):
        values = cast(jax.Array, module.apply(params, states[:, None], actions))
        return jnp.sum(values), values

    def step(carry, _):
        actions, best_values, best_actions, optimizer_state = carry
        gradients, values = jax.grad(total, has_aux=True)(actions)
        better = values > best_values
        best_actions = jnp.where(better[..., None], actions, best_actions)
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it
            updates, optimizer_state = optimizer.update(-gradients, optimizer_state)
        actions = jnp.clip(optax.apply_updates(actions, updates), -1, 1)
        return (actions, jnp.maximum(values, best_values), best_actions, optimizer_state), None

    carry = (starts, jnp.full(starts.shape[:2], -jnp.inf), starts, optimizer.init(starts))
    return jax.lax.scan(step, carry, None, length=ADAM_STEPS)[0][2]


class Layers(NamedTuple):
    """A critic of one state in float64 on NumPy, an evaluation independent of JAX's: layers from the action on."""

    kernels: list[np.ndarray]
    biases: list[np.ndarray]
    head: np.ndarray
    head_bias: float
    is_relu: bool

    def value_and_grad(self, action: np.ndarray) -> tuple[float, np.ndarray]:
        """Q and its gradient in the action `[N]`."""
        x, slopes = action, []
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            z = x @ kernel + bias
            x = np.maximum(z, 0) if self.is_relu else np.tanh(z)
            slopes.append(z > 0 if self.is_relu else 1 - x * x)
        gradient = self.head
        for kernel, slope in zip(reversed(self.kernels), reversed(slopes), strict=True):
            gradient = kernel @ (gradient * slope)
        return float(x @ self.head + self.head_bias), gradient


def layers_of(critic: critics.Critic, state: np.ndarray) -> Layers:
    """The critic with the state's half of the first layer in its bias."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), critic.params["params"])
    torso = [params["torso"][name] for name in sorted(params["torso"])]
    kernel = params["kernel"]
    of_state = np.asarray(state, np.float64) @ kernel[: len(state)] + params["bias"]
    return Layers(
        [kernel[len(state) :], *(layer["kernel"] for layer in torso)],
        [of_state, *(layer["bias"] for layer in torso)],
        params["value"]["kernel"][:, 0],
        float(params["value"]["bias"][0]),
        critic.module.activation is nn.relu,
    )


def polish(layers: Layers, starts: np.ndarray, box: pgjax.Box) -> tuple[np.ndarray, float]:
    """The best action of local searches from each start `[K, N]`, to the last digits, and its value."""
    action, value = climb(layers.value_and_grad, starts, box)
    return climb_pieces(layers, action, box) if layers.is_relu else (action, value)


def climb(value_and_grad: Callable, starts: np.ndarray, box: pgjax.Box) -> tuple[np.ndarray, float]:
    """The best action of local searches from each start `[K, N]`, and its value; no worse than the best start.

    Reference: Zhu, Byrd, Lu & Nocedal (1997), L-BFGS-B, in SciPy.
    """

    def loss(action: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_grad(action)
        return -value, -gradient

    best_action, best_value = starts[0], -np.inf
    bounds, options = optimize.Bounds(box.low, box.high), {"ftol": 0.0, "gtol": 1e-10, "maxiter": 500}
    for start in np.clip(starts, box.low, box.high):
        found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        for action in (start, np.clip(found.x, box.low, box.high)):
            value = value_and_grad(action)[0]
            if value > best_value:
                best_action, best_value = action, value
    return best_action, best_value


def climb_pieces(layers: Layers, action: np.ndarray, box: pgjax.Box) -> tuple[np.ndarray, float]:
    """Climb a ReLU critic from vertex to vertex of its linear pieces; L-BFGS-B stalls at the kinks between them.

    The maximum over a piece is a linear program. Goes on with the pieces around its solution, those that random
    points near by lie on, until none of them has a higher vertex.
    """
    rng = np.random.default_rng(0)
    best, value = action, layers.value_and_grad(action)[0]
    while True:
        offsets = 10.0 ** rng.uniform(-9, -2, (NUM_PIECES, 1)) * rng.normal(size=(NUM_PIECES, box.num_dims))
        vertices = [piece_maximum(layers, np.clip(best + x, box.low, box.high), box) for x in [0 * best, *offsets]]
        values = [layers.value_and_grad(vertex)[0] for vertex in vertices]
        i = int(np.argmax(values))
        if values[i] <= value + 1e-13 * max(1.0, abs(value)):
            return best, value
        best, value = vertices[i], values[i]


def piece_maximum(layers: Layers, action: np.ndarray, box: pgjax.Box) -> np.ndarray:
    """The best action of the linear piece that the action lies on, or the action where the solver fails."""
    slope, offset = np.eye(box.num_dims), np.zeros(box.num_dims)
    rows, limits = [], []
    for kernel, bias in zip(layers.kernels, layers.biases, strict=True):
        slope, offset = slope @ kernel, offset @ kernel + bias
        sign = np.where(action @ slope + offset > 0, 1.0, -1.0)
        rows.append(-sign * slope)  # every unit stays on its side of the kink
        limits.append(sign * offset)
        slope, offset = slope * (sign > 0), offset * (sign > 0)
    found = optimize.linprog(
        -slope @ layers.head,
        np.concatenate(rows, axis=1).T,
        np.concatenate(limits),
        bounds=np.stack([box.low, box.high], axis=1),
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    return action if found.x is None else np.clip(found.x, box.low, box.high)


def uniform_mean(critic: critics.Critic, states: np.ndarray) -> np.ndarray:
    """Mean of Q over uniform actions, for each state: where the scale of the normalized regret begins."""
    uniform = np.random.default_rng(1).uniform(critic.box.low, critic.box.high, (NUM_UNIFORM, critic.box.num_dims))
    actions = jnp.asarray(uniform, jnp.float32)
    apply = jax.jit(critic.module.apply)
    return np.asarray([np.mean(np.asarray(apply(critic.params, state, actions), np.float64)) for state in states])


def summary(found: critics.Brackets) -> str:
    """A line on how far the ways of searching differ, in units of maximum - mean."""
    scale = found.maximum - found.record["uniform_mean"]
    short = {
        name: (found.maximum - found.record[f"{name}_value"]) / scale
        for name in ("sobol", "sobol_lbfgs", "adam", "lbfgs")
    }
    parts = [f"{name} short by {np.median(gap):.1e} median, {np.max(gap):.1e} most" for name, gap in short.items()]
    gap = (found.upper_bound - found.maximum) / scale
    closed = np.mean(gap <= 1.01 * GAP)
    parts.append(f"upper bound by {np.median(gap):.1e} median, {np.max(gap):.1e} most, {closed:.0%} closed")
    return "; ".join(parts)
