"""Neural critics with brackets on their maxima, from files: those fitted to the arm's Q, and any other by name."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from pgjax.checks import check_choice, check_count
from pgjax.networks import QNetwork
from pgjax.problems.base import Problem, as_floating
from pgjax.types import Array, Box, Params

Stage = Literal["early", "middle", "late"]
STAGES: tuple[Stage, ...] = get_args(Stage)
WIDTHS = (32, 64, 128, 256)
ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}
_CRITIC, _BRACKETS = ".critic.msgpack", ".brackets.msgpack"


class Critic(NamedTuple):
    """A critic Q(s, a) over a box.

    Fields:
        module: the network; its activation is one of `ACTIVATIONS`.
        params: its parameters, float32.
        box: the actions that it was fitted on.
        record: how it was made and how well it fits, numbers and text by name.
    """

    module: QNetwork
    params: Params
    box: Box
    record: dict[str, Any]

    def value(self, params: Params, state: Array, action: Array) -> Array:
        """Q of an action `[N]` in a state `[D]`, a scalar of the action's dtype, with parameters like `params`."""
        action = as_floating(action)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, action.dtype), params)
        return cast(Array, self.module.apply(params, state, action))


class Brackets(NamedTuple):
    """The maximum of a critic over its box for some states: attained values and certified bounds.

    Fields:
        states: float32, shape `[B, D]`.
        maximum: the best value known, of the parameters taken as float64, shape `[B]`.
        best_action: an action that attains it, float64, shape `[B, N]`.
        upper_bound: that no value exceeds, +inf where nothing is certified, float64, shape `[B]`.
        record: how they were found, and what each way of searching alone found.
    """

    states: np.ndarray
    maximum: np.ndarray
    best_action: np.ndarray
    upper_bound: np.ndarray
    record: dict[str, Any]


def fitted_critic(
    *,
    activation: Literal["relu", "tanh"] = "relu",
    width: int = 64,
    stage: Stage = "late",
    num_states: int = 64,
) -> Problem:
    """Maximize a critic with two hidden layers that was fitted to the six-joint arm's Q.

    The state is the target's pose, as in `six_joint_arm`; the action is the joint angles over pi; Q is scaled to
    unit spread. Landscapes are as in actor-critic training: many local maxima, and none at the arm's solutions.

    Args:
        activation: "relu" or "tanh".
        width: of both layers: 32, 64, 128 or 256.
        stage: "early", "middle" or "late": after 1/50, 1/8 and all of the training.
        num_states: number of states B, at most 64: the first of those with brackets.

    Returns:
        a `Problem` with bracketed maxima.
    Raises:
        ValueError: a setting that is not one of these.
    Cost:
        see `QNetwork`.
    """
    check_choice("activation", activation, ACTIVATIONS)
    check_choice("width", width, WIDTHS)
    check_choice("stage", stage, STAGES)
    return critic_problem(fitted_critic_name(activation, width, stage), num_states)


def fitted_critic_name(activation: str, width: int, stage: str) -> str:
    """The name that `load_critic` and `load_brackets` take."""
    return f"{activation}_2x{width}_{stage}"


def critic_problem(name: str | Path, num_states: int | None = None) -> Problem:
    """Maximize a stored critic, for the states that have brackets.

    Args:
        name: of a critic that comes with pgjax, or the path of another without its endings.
        num_states: number of states B, the first ones; default all.

    Returns:
        a `Problem` with bracketed maxima; its objective has the parameters in it.
    Raises:
        ValueError: no such critic, more states than have brackets.
    """
    critic, brackets = load_critic(name), load_brackets(name)
    num_states = len(brackets.states) if num_states is None else num_states
    check_count("num_states", num_states)
    if num_states > len(brackets.states):
        raise ValueError(f"num_states must be at most {len(brackets.states)}, of {name}; got {num_states}")

    first = slice(num_states)
    return Problem(
        jnp.asarray(brackets.states[first]),
        functools.partial(critic.value, critic.params),
        critic.box,
        brackets.maximum[first],
        brackets.best_action[first],
        brackets.upper_bound[first],
    )


def load_critic(name: str | Path) -> Critic:
    """Load a critic: its network, parameters and box.

    Args:
        name: of a critic that comes with pgjax, such as "relu_2x64_late", or the path of another without ending.

    Returns:
        a `Critic`.
    Raises:
        ValueError: no such critic.
    """
    data = _read(name, _CRITIC)
    module = QNetwork(tuple(int(size) for size in data["hidden_sizes"]), ACTIVATIONS[data["activation"]])
    return Critic(module, data["params"], Box(data["low"], data["high"]), data["record"])


def save_critic(name: str | Path, critic: Critic) -> Path:
    """Write a critic for `load_critic`, in one step, so that an interruption leaves no half file.

    Args:
        name: the path without its ending.
        critic: what to write.

    Returns:
        the file's path.
    Raises:
        ValueError: an activation that is not one of `ACTIVATIONS`.
    """
    activation = [key for key, function in ACTIVATIONS.items() if function is critic.module.activation]
    if not activation:
        raise ValueError(f"critic must have an activation of {tuple(ACTIVATIONS)}; got {critic.module}")
    data = {
        "activation": activation[0],
        "hidden_sizes": list(critic.module.hidden_sizes),
        "params": jax.tree.map(np.asarray, critic.params),
        "low": np.asarray(critic.box.low),
        "high": np.asarray(critic.box.high),
        "record": critic.record,
    }
    return _write(name, _CRITIC, data)


def load_brackets(name: str | Path) -> Brackets:
    """Load the brackets of a critic.

    Args:
        name: as for `load_critic`.

    Returns:
        a `Brackets`.
    Raises:
        ValueError: no brackets for it.
    """
    return Brackets(**_read(name, _BRACKETS))


def save_brackets(name: str | Path, brackets: Brackets) -> Path:
    """Write the brackets of a critic beside it, in one step.

    Args:
        name: the path without its ending, as for `save_critic`.
        brackets: what to write.

    Returns:
        the file's path.
    """
    return _write(name, _BRACKETS, brackets._asdict())


def _path(name: str | Path, ending: str) -> Path:
    """The file to read: of a critic that comes with pgjax, or of a path."""
    own = Path(__file__).parent / "data" / f"{name}{ending}"
    return own if len(Path(name).parts) == 1 and own.exists() else Path(f"{name}{ending}")


def _read(name: str | Path, ending: str) -> dict[str, Any]:
    path = _path(name, ending)
    if not path.is_file():
        known = sorted(file.name.removesuffix(ending) for file in path.parent.glob(f"*{ending}"))
        raise ValueError(f"name must be one of {', '.join(known)} in {path.parent}; got {str(name)!r}")
    return serialization.msgpack_restore(path.read_bytes())


def _write(name: str | Path, ending: str, data: dict[str, Any]) -> Path:
    path = _path(name, ending)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(serialization.msgpack_serialize(data))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
