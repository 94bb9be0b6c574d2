"""Claim a on a six-joint arm and a neural critic: the cheapest search that is good enough, against a control step.

Which search that is, is decided on targets and times of its own; what it loses and takes is then measured anew.
Each decision is a call for one state, as it is timed, and its action is rescored in float64.
"""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

import pgjax
from pgjax import maximizers
from studies.claims.rows import Measuring, Statement
from studies.common.acting.cases import make_case
from studies.common.acting.regret import regret_scale, rescore
from studies.common.acting.tasks import ARM as ARM_TASK
from studies.common.acting.tasks import Task, make_task
from studies.common.acting.ways import Search, search_method
from studies.common.timing import time_interleaved

CONTROL_STEP_S, GOOD_REGRET = 0.02, 0.01
NUM_TARGETS, NUM_TUNING = 16, 64  # targets a seed, and targets to choose a search on
BATCH_SIZE = 256
CRITIC, NUM_CRITIC_KEYS = "relu_2x64_late", 4
NUM_ROUNDS = 9  # a value of every time and ratio for each
LIMITS: dict[str, Any] = {"min_time_s": 0.02, "max_time_s": 0.1, "min_repetitions": 20, "num_rounds": 1}
COMPILE_THREADS = 2


def _search(name: str, maximizer: maximizers.Maximizer, num_steps: int) -> Search:
    return Search(name, "search", maximizer, num_steps)


GRID = _search("grid 5^6", maximizers.grid(num_points=5), 1)
RANDOM = _search("random 10,000", maximizers.random_search(num_samples=1000, sequence="uniform"), 10)
ADAM = _search("Adam 8x30", maximizers.gradient_ascent(), 30)
STARTS = maximizers.random_search(num_samples=4096)
ADAM_LONG = _search(
    "Adam 16x240", maximizers.gradient_ascent(num_starts=16, search=STARTS, num_search_steps=1), 240
)
SEARCHES = (
    GRID,
    RANDOM,
    _search("zoom 4 levels, 4 bins", maximizers.coordinate_zoom(num_bins=4, num_levels=4), 21),
    _search("CEM 10x400/40", maximizers.cross_entropy(num_samples=400, num_elites=40), 10),
    ADAM,
    _search("L-BFGS 8x30", maximizers.lbfgs(), 30),
)
CRITIC_SEARCHES = (ADAM, ADAM_LONG)

LOST, RATIO = "median normalized regret", "time / of a policy's sample"
STEP = f"time per decision, s (control step {CONTROL_STEP_S})"
ARM, ON_CRITIC = "six-joint arm", "ReLU critic 2x64 fitted to the arm"
CHEAPEST = f"{{}}, batch of 1, cheapest of our searches with {LOST} <= {GOOD_REGRET}"
ARM_SEARCH, CRITIC_SEARCH = CHEAPEST.format(ARM), CHEAPEST.format(ON_CRITIC)
IN_BATCH = f"{ARM}, that search, batch of {BATCH_SIZE}"
STATEMENTS: dict[str, Statement] = {
    "arm time": Statement(ARM_SEARCH, STEP, low=CONTROL_STEP_S, says="chapter"),
    # What the chapter leaves out: searches other than the two that it names, a policy's time, batches, critics.
    "arm regret": Statement(f"{ARM}, that search, other targets", LOST, high=GOOD_REGRET),
    "arm grid": Statement(f"{ARM}, grid of 5 points a side, 15,625 evaluations", LOST, low=GOOD_REGRET),
    "arm random": Statement(f"{ARM}, 10,000 random samples", LOST, low=GOOD_REGRET),
    "sample time": Statement("sample of a Gaussian policy, two layers of 64, batch of 1", "time, s", high=1e-3),
    "arm ratio": Statement(ARM_SEARCH, RATIO, low=1.0),
    "batch time": Statement(IN_BATCH, STEP, high=CONTROL_STEP_S),
    "batch ratio": Statement(IN_BATCH, RATIO, low=10.0),
    "critic same": Statement(f"{ON_CRITIC}, the arm's search", LOST, low=GOOD_REGRET),
    "critic regret": Statement(f"{ON_CRITIC}, its own search, other states", LOST, high=GOOD_REGRET),
    "critic time": Statement(CRITIC_SEARCH, STEP, high=CONTROL_STEP_S),
    "critic ratio": Statement(CRITIC_SEARCH, RATIO, low=10.0),
}
Act = Callable[..., pgjax.Maximum]
Call = tuple[Any, tuple[Any, ...]]  # a jitted function, its arguments


class Trial(NamedTuple):
    """A problem, its regrets' scale, and which of its states to report on; on the others a search is chosen."""

    task: Task
    scale: np.ndarray
    report: np.ndarray
    tuning: np.ndarray


def measure(*, num_seeds: int, seed: int) -> Measuring:
    """Measure the statements; the figure has the searches' times and regrets."""
    key, key_tuning = jax.random.key(seed), jax.random.key(seed + 1_000_000)
    of_arm, of_critic = arm_trial(key, key_tuning, num_seeds), critic_trial()
    acts = {search.name: act_of(of_arm.task, search) for search in SEARCHES}
    critic_acts = {search.name: act_of(of_critic.task, search) for search in CRITIC_SEARCHES}
    calls = {name: call(act, of_arm.task, 1) for name, act in acts.items()}
    critic_calls = {name: call(act, of_critic.task, 1) for name, act in critic_acts.items()}
    compile_side_by_side([*calls.values(), *critic_calls.values()])

    first_times = times_in_rounds(calls, 1)
    chosen = choose(of_arm, acts, first_times, key_tuning)
    critic_chosen = choose(of_critic, critic_acts, times_in_rounds(critic_calls, 1), key_tuning)
    timed = {
        "arm": calls[chosen],
        "critic": critic_calls[critic_chosen],
        "sample": sample_call(of_arm.task, 1),
        "sample batch": sample_call(of_arm.task, BATCH_SIZE),
        "arm batch": call(act_of(of_arm.task, search_named(chosen)), of_arm.task, BATCH_SIZE),
    }
    same = act_of(of_critic.task, search_named(chosen))
    compile_side_by_side([*timed.values(), call(same, of_critic.task, 1)])
    times = times_in_rounds(timed, NUM_ROUNDS)
    yield (
        "rounds",
        {
            "arm time": times["arm"],
            "sample time": times["sample"],
            "arm ratio": times["arm"] / times["sample"],
            "batch time": times["arm batch"] / BATCH_SIZE,
            "batch ratio": times["arm batch"] / times["sample batch"],
            "critic time": times["critic"],
            "critic ratio": times["critic"] / times["sample"],
        },
    )

    lost = {
        name: np.median(lost_by(of_arm, act, of_arm.report, key).reshape(num_seeds, -1), axis=1)
        for name, act in acts.items()
    }
    keys = jax.random.split(key, NUM_CRITIC_KEYS)
    own, others = (
        [float(np.median(lost_by(of_critic, act, of_critic.report, k))) for k in keys]
        for act in (critic_acts[critic_chosen], same)
    )
    yield "seeds", {"arm regret": lost[chosen], "arm grid": lost[GRID.name], "arm random": lost[RANDOM.name]}
    yield "cases", {"critic same": others, "critic regret": own}
    points = [point(name, first_times[name], regret) for name, regret in lost.items()]
    return {
        "searches": points,
        "chosen": chosen,
        "critic": point(critic_chosen, times["critic"], own),
        "sample_time_s": float(np.median(times["sample"])),
        "control_step_s": CONTROL_STEP_S,
        "good_regret": GOOD_REGRET,
    }


def arm_trial(key: jax.Array, key_tuning: jax.Array, num_seeds: int) -> Trial:
    """The arm, with targets of the seeds, and others to choose a search on."""
    num_report = num_seeds * NUM_TARGETS
    tasks = [make_task(ARM_TASK, *of) for of in ((num_report, key), (NUM_TUNING, key_tuning))]
    # Every target can be reached.
    return make_trial(with_states(tasks[0], tasks, np.zeros(num_report + NUM_TUNING)), num_report)


def critic_trial() -> Trial:
    """The critic, with the two halves of its states whose maximum is known."""
    parts = [make_case(CRITIC, split, 32, 0).task for split in ("report", "tune")]
    problems = [part.problem for part in parts if part.problem is not None]
    maximum = np.concatenate([problem.maximum for problem in problems])
    return make_trial(with_states(parts[0], problems, maximum), len(parts[0].states))


def with_states(task: Task, parts: Sequence[Task | pgjax.problems.Problem], maximum: np.ndarray) -> Task:
    """The task with the states of several, whose maximum is known; in NumPy, as they are taken one by one."""
    assert task.problem is not None
    states = cast(jax.Array, np.concatenate([part.states for part in parts]))
    return task._replace(states=states, problem=task.problem._replace(states=states, maximum=maximum))


def make_trial(task: Task, num_report: int) -> Trial:
    """The first states are to report on."""
    index = np.arange(len(task.states))
    return Trial(task, regret_scale(task), index[:num_report], index[num_report:])


def search_named(name: str) -> Search:
    """Of the arm's searches."""
    return next(search for search in SEARCHES if search.name == name)


def act_of(task: Task, search: Search) -> Act:
    """A search on a task, jitted: (params, key, states) -> maximum."""
    return jax.jit(search_method(task, search).act)


def choose(trial: Trial, acts: Mapping[str, Act], times: Mapping[str, np.ndarray], key: jax.Array) -> str:
    """The fastest search that loses little enough on the states to choose on; where none does, the best."""
    lost = {name: float(np.median(lost_by(trial, act, trial.tuning, key))) for name, act in acts.items()}
    good = [name for name in lost if lost[name] <= GOOD_REGRET]
    return min(good, key=lambda name: times[name][0]) if good else min(lost, key=lambda name: lost[name])


def lost_by(trial: Trial, act: Act, index: np.ndarray, key: jax.Array) -> np.ndarray:
    """Normalized regret for each of some states, each with its own noise; infinite for actions outside the box."""
    task, keys = trial.task, jax.random.split(key, len(index))
    states = task.states[index]
    actions = np.stack([act(task.params, k, state).action for k, state in zip(keys, states, strict=True)])
    with jax.enable_x64(True):
        wide = (np.asarray(states, np.float64), actions.astype(np.float64))
        values = np.asarray(rescore(task.objective, task.params, *wide))
    assert task.problem is not None
    low, high = (np.asarray(bound, actions.dtype) for bound in (task.box.low, task.box.high))
    inside = np.all((actions >= low) & (actions <= high), axis=1)
    return np.where(inside, (task.problem.maximum[index] - values) / trial.scale[index], math.inf)


def point(name: str, times: np.ndarray, lost: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """A search in the figure."""
    return {"name": name, "time_s": float(np.median(times)), "regret": float(np.median(lost))}


def call(act: Act, task: Task, batch_size: int) -> Call:
    """A decision for the first states, to be timed."""
    return act, (task.params, jax.random.key(0), first_states(task, batch_size))


def sample_call(task: Task, batch_size: int) -> Call:
    """A sample of the chapter's policy, as initialized: its time does not depend on its parameters."""
    policy, states = pgjax.GaussianPolicy(task.box.num_dims), first_states(task, batch_size)
    params = policy.init(jax.random.key(0), states)
    return jax.jit(lambda params, key, states: pgjax.sample(policy, params, key, states)), (
        params,
        jax.random.key(0),
        states,
    )


def first_states(task: Task, batch_size: int) -> Any:
    """One state, or a batch; states are repeated where there are too few."""
    states = np.asarray(task.states)
    return jnp.asarray(states[0] if batch_size == 1 else np.resize(states, (batch_size, states.shape[1])))


def compile_side_by_side(calls: Iterable[Call]) -> None:
    """Compile jitted functions for their arguments, some at once."""
    lowered = [function.lower(*args) for function, args in calls]
    with concurrent.futures.ThreadPoolExecutor(COMPILE_THREADS) as threads:
        list(threads.map(lambda one: one.compile(), lowered))


def times_in_rounds(calls: Mapping[str, Call], num_rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each call, a median for each round in which all take their turn."""
    rounds = [time_interleaved(calls, **LIMITS) for _ in range(num_rounds)]
    return {name: np.asarray([timings[name].median_s for timings in rounds]) for name in calls}
