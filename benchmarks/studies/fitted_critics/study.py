"""Fit critics Q(s, a) to the six-joint arm, and bracket their maxima: remakes pgjax/problems/data.

Two hidden layers of each width, ReLU and tanh, kept after 1/50, 1/8 and all of the training: critics of an early,
a middle and a late stage. Files that exist are kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pgjax
from pgjax.problems import critics
from studies.common.command_line import CONSOLE, parsed
from studies.fitted_critics import brackets

STAGE_FRACTIONS = {"early": 1 / 50, "middle": 1 / 8, "late": 1.0}
BATCH_SIZE = 1024
LEARNING_RATE = 2e-3
NEAR_STD = (0.01, 0.5)  # of the noise about solutions, in units of pi: its logarithm is uniform between these
NUM_SCALE, NUM_TEST = 2**16, 2**16
# The arm, for its Q, and the targets for which maxima are bracketed.
ARM = pgjax.problems.six_joint_arm(jax.random.key(2), 64)


@dataclasses.dataclass(frozen=True)
class Options:
    """Fit critics to the six-joint arm and bracket their maxima over [-1, 1]^6."""

    activations: tuple[str, ...] = tuple(critics.ACTIVATIONS)
    """relu, tanh."""
    widths: tuple[int, ...] = critics.WIDTHS
    """Of both hidden layers."""
    num_steps: int = 10_000
    """Training steps of 1024 fresh samples."""
    log2_samples: int = 20
    """Sobol points for each state, as a power of two, before the local searches."""
    output: Path = Path(critics.__file__).parent / "data"
    """Folder of the files."""
    overwrite: bool = False
    """Remove a network's files first, of all three stages, and make anew what is asked for."""
    stages: tuple[critics.Stage, ...] = critics.STAGES
    """Of training, to bracket; networks are trained through all of them."""
    num_boxes: int = 2**15
    """Boxes of branch and bound for each state at most; 0 leaves the maxima without upper bounds."""
    certify: bool = False
    """Go on with the proofs in files that exist."""

    def check(self) -> None:
        """Raise ValueError, naming the option, for what cannot be run."""
        for name, given, known in (
            ("--activations", self.activations, tuple(critics.ACTIVATIONS)),
            ("--widths", self.widths, critics.WIDTHS),
            ("--stages", self.stages, critics.STAGES),
        ):
            if not given or set(given) - set(known):
                raise ValueError(f"{name}: expected some of {known}; got {given}")
        if self.num_steps < 1 / STAGE_FRACTIONS["early"]:
            raise ValueError(f"--num-steps: expected at least 50; got {self.num_steps}")
        if 0 < self.num_boxes < brackets.BOXES_PER_STEP or self.num_boxes < 0:
            least = brackets.BOXES_PER_STEP
            raise ValueError(f"--num-boxes: expected 0 or at least {least}; got {self.num_boxes}")
        if not 10 <= self.log2_samples <= 24:
            raise ValueError(f"--log2-samples: expected 10 to 24; got {self.log2_samples}")
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--output: expected a folder's name; {error}") from error


class Samples(NamedTuple):
    """Targets' poses `[B, 12]`, actions `[B, 6]` in [-1, 1] and the arm's Q `[B]`."""

    states: jax.Array
    actions: jax.Array
    values: jax.Array


def draw(key: jax.Array, num_samples: int, fraction_near: float = 0.5) -> Samples:
    """Samples as a critic in training sees them: some uniform, and some near a solution of the target.

    Without the latter, in six dimensions, a critic would hardly see a good action.
    """
    shape = (num_samples, 6)
    keys = jax.random.split(key, 5)
    solutions = jax.random.uniform(keys[0], shape, minval=-1.0)
    position, rotation = pgjax.problems.forward_kinematics(solutions * math.pi)
    states = jnp.concatenate([position, rotation.reshape(num_samples, 9)], axis=-1)
    low, high = (math.log(std) for std in NEAR_STD)
    std = jnp.exp(jax.random.uniform(keys[1], (num_samples, 1), minval=low, maxval=high))
    near = solutions + jnp.broadcast_to(std, shape) * jax.random.normal(keys[2], shape)
    near = (near + 1) % 2 - 1  # angles: beyond pi is -pi
    chosen = jax.random.uniform(keys[3], (num_samples, 1)) < fraction_near
    actions = jnp.where(jnp.broadcast_to(chosen, shape), near, jax.random.uniform(keys[4], shape, minval=-1.0))
    return Samples(states, actions, ARM.objective(states, actions * math.pi))


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(
    module: pgjax.QNetwork, optimizer: Any, carry: Any, keys: jax.Array, center: float, spread: float
) -> Any:
    """Steps of regression on Q in units of its spread, one for each key."""

    def step(carry, key):
        params, optimizer_state = carry
        samples = draw(key, BATCH_SIZE)

        def loss(params):
            fitted = cast(jax.Array, module.apply(params, samples.states, samples.actions))
            errors = fitted - (samples.values - center) / spread
            return jnp.mean(jnp.square(errors))

        updates, optimizer_state = optimizer.update(jax.grad(loss)(params), optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), None

    return jax.lax.scan(step, carry, keys)[0]


def explained(module: pgjax.QNetwork, params: Any, center: float, spread: float) -> dict[str, float]:
    """R^2 on fresh samples: as in training, uniform actions alone, and actions near solutions alone."""
    result = {}
    for i, (name, fraction_near) in enumerate({"training": 0.5, "uniform": 0.0, "near": 1.0}.items()):
        samples = draw(jax.random.fold_in(jax.random.key(3), i), NUM_TEST, fraction_near)
        targets = (samples.values - center) / spread
        fitted = cast(jax.Array, module.apply(params, samples.states, samples.actions))
        errors = fitted - targets
        result[f"r2_{name}"] = float(1 - jnp.mean(jnp.square(errors)) / jnp.var(targets))
    return result


def fit(options: Options, activation: str, width: int) -> None:
    """Train one network and write its three stages."""
    module = pgjax.QNetwork((width, width), critics.ACTIVATIONS[activation])
    key_scale, key_init, key_train = jax.random.split(jax.random.key(0), 3)
    scale = draw(key_scale, NUM_SCALE)
    center, spread = float(jnp.mean(scale.values)), float(jnp.std(scale.values))
    params = module.init(key_init, scale.states[0], scale.actions[0])
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, options.num_steps))
    carry = (params, optimizer.init(params))
    keys = jax.random.split(key_train, options.num_steps)
    done = 0
    for stage, fraction in STAGE_FRACTIONS.items():
        start, until = time.perf_counter(), round(fraction * options.num_steps)
        carry = train(module, optimizer, carry, keys[done:until], center, spread)
        done = until
        record = {"num_steps": done, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
        record |= {"center": center, "spread": spread} | explained(module, carry[0], center, spread)
        name = critics.fitted_critic_name(activation, width, stage)
        box = pgjax.Box(np.full(6, -1.0), np.full(6, 1.0))
        critics.save_critic(options.output / name, critics.Critic(module, carry[0], box, record))
        r2 = ", ".join(f"{key[3:]} {value:.3f}" for key, value in record.items() if key.startswith("r2_"))
        CONSOLE.print(f"{name}: {done} steps, R^2 {r2}; {time.perf_counter() - start:.0f} s")


def files_of(name: Path) -> tuple[Path, Path]:
    """The files of a critic and of its brackets."""
    return Path(f"{name}.critic.msgpack"), Path(f"{name}.brackets.msgpack")


def bracket(options: Options, name: Path) -> None:
    """Write the brackets of a critic, or go on with those there are."""
    start = time.perf_counter()
    critic = critics.load_critic(name)
    if not files_of(name)[1].exists():
        solutions = ARM.best_action / math.pi
        found = brackets.bracket(critic, np.asarray(ARM.states), solutions, options.log2_samples)
    elif options.certify:
        found = critics.load_brackets(name)
    else:
        return
    if options.num_boxes:
        found = brackets.certify(critic, found, options.num_boxes)
    critics.save_brackets(name, found)
    CONSOLE.print(f"{name.name}: {brackets.summary(found)}; {time.perf_counter() - start:.0f} s")


def run(options: Options) -> None:
    """Fit and bracket everything that the options ask for."""
    for activation in options.activations:
        for width in options.widths:
            names = {s: options.output / critics.fitted_critic_name(activation, width, s) for s in critics.STAGES}
            if options.overwrite or not all(files_of(name)[0].exists() for name in names.values()):
                for path in (path for name in names.values() for path in files_of(name)):
                    path.unlink(missing_ok=True)  # no stage or bracket is left beside another network
                fit(options, activation, width)
            for stage in options.stages:
                bracket(options, names[stage])


def main() -> int:
    """Run from the command line."""
    options = parsed(Options)
    if options is None:
        return 2
    try:
        run(options)
    except KeyboardInterrupt:
        CONSOLE.print("interrupted: whole files are kept, and the same command without --overwrite goes on")
        return 130
    return 0
