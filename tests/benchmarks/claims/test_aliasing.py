"""Claim d: every number against a second computation, what is contradicted, what the learners find, the figure."""

import math

import jax
import numpy as np
import pytest

from pgjax import environments as envs
from studies.claims.aliasing import learners as claims_aliasing_learners
from studies.claims.aliasing import measure as claims_aliasing
from studies.claims.aliasing import plots as claims_aliasing_plots
from studies.claims.aliasing import statements
from studies.common import results
from tests.benchmarks.runs import judged_run

pytestmark = pytest.mark.deep  # it runs the study

NORTH, EAST, SOUTH, WEST = range(4)
NUM_SEEDS = 4


@pytest.fixture(scope="module")
def small_run():
    """A run of few seeds; returns its rows by statement, and the figure's data."""
    return judged_run(claims_aliasing, num_seeds=NUM_SEEDS, seed=0)


def by_hand(policy, discount, *, skull=-10.0, limit=None):
    """The value of a policy `[5, 4]` by cell from a uniform start, written out again; limit None: no end."""
    moves, ends = np.zeros((5, 5)), {0: skull, 2: 0.0, 4: skull}
    reward = np.full(5, -1.0)
    for cell, chances in enumerate(np.asarray(policy)):
        moves[cell, cell] += chances[NORTH]
        moves[cell, min(cell + 1, 4)] += chances[EAST]
        moves[cell, max(cell - 1, 0)] += chances[WEST]
        if cell in ends:
            reward[cell] += chances[SOUTH] * ends[cell]
        else:
            moves[cell, cell] += chances[SOUTH]
    if limit is None:
        return np.mean(np.linalg.solve(np.eye(5) - discount * moves, reward))
    value = np.zeros(5)
    for _ in range(limit):
        value = reward + discount * moves @ value
    return np.mean(value)


def toward(grey_west, grey_east):
    """East, grey, south, grey, west; the grey cells' probabilities of east may differ."""
    grey = [[0, east, 0, 1 - east] for east in (grey_west, grey_east)]
    return np.array([[0, 1, 0, 0], grey[0], [0, 0, 1, 0], grey[1], [0, 0, 0, 1]])


def test_what_the_chapter_leaves_out_contradicts_it_and_all_else_holds(small_run):
    rows, _ = small_run
    contradicted = {name for name, row in rows.items() if row["verdict"] == "contradicted"}
    assert contradicted == {"memory 1", "memory 0.9", "mild"}
    assert all(rows[name]["says"] == "chapter" for name in contradicted)
    few = statements.SAMPLED  # their intervals are wide with so few seeds
    assert {name for name, row in rows.items() if row["verdict"] == "open"} <= set(few)
    assert rows["chance 1"]["verdict"] == rows["actor 1"]["verdict"] == "holds"


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_the_table_again(discount, small_run):
    rows, _ = small_run
    all_moves = 0.9 * toward(1, 1) + 0.1 / 4
    expected = {
        "sees the state": by_hand(toward(1, 0), discount),
        "50/50 in the grey cells": by_hand(toward(0.5, 0.5), discount),
        "stochastic": by_hand(toward(0.5, 0.5), discount),
        "0.1-greedy": by_hand(toward(0.95, 0.95), discount),
    }
    for name, value in expected.items():
        assert rows[f"{name} {discount:g}"]["value"] == pytest.approx(value, rel=1e-8), name
    difference = by_hand(all_moves, discount) - by_hand(toward(0.95, 0.95), discount)
    assert rows[f"all moves {discount:g}"]["value"] == pytest.approx(difference, rel=1e-8)
    # With memory: east of an unknown grey cell; from the wrong one that costs a step there and one back.
    steps = [3, 2, 1, 4, 3]
    with_memory = -np.mean([sum(discount**t for t in range(n)) for n in steps])
    assert rows[f"with memory {discount:g}"]["value"] == pytest.approx(with_memory, rel=1e-9)


def test_deterministic_policies_walk_for_ever_or_into_the_skull(small_run):
    rows, _ = small_run
    assert rows["deterministic, around the skull 1"]["value"] == -math.inf
    assert rows["deterministic, around the skull 1"]["verdict"] == "holds"
    assert rows["deterministic, around the skull 0.9"]["value"] == pytest.approx(by_hand(toward(1, 1), 0.9))
    into_skull = toward(1, 1)
    into_skull[4] = np.eye(4)[SOUTH]
    for skull, name in ((-10.0, "suicide"), (-10.0, "limit suicide"), (-4.0, "mild best")):
        assert rows[name]["value"] == pytest.approx(by_hand(into_skull, 1.0, skull=skull))
    assert rows["limit"]["value"] == pytest.approx(by_hand(toward(1, 1), 1.0, limit=50))


def test_sampled_gradients_against_numpy(small_run):
    """Fifty thousand episodes at p = .5, simulated again: mean and variance within five standard errors."""
    rows, _ = small_run
    rng, num = np.random.default_rng(0), 50_000
    state, lived = np.zeros(num, int), []
    following = np.array([[0, 1], [2, 0], [1, 3]])
    while np.any(state < 3):
        right = rng.integers(0, 2, num)
        lived.append((state < 3, right))
        state = np.where(state < 3, following[np.minimum(state, 2), right], 3)
    for name, baseline in claims_aliasing.BASELINES.items():
        gradient, to_go = np.zeros(num), np.zeros(num)
        for alive, right in reversed(lived):
            to_go = np.where(alive, to_go - 1, 0)
            gradient += np.where(alive, (to_go - baseline) * (right - 0.5), 0)
        error = np.std(gradient) / np.sqrt(num)
        squares = (gradient - 2) ** 2
        assert abs(np.mean(gradient) - rows["mean"]["value"]) < 5 * error
        assert abs(np.mean(squares) - rows[f"variance {name}"]["value"]) < 5 * np.std(squares) / np.sqrt(num)
        sampled, per_seed = rows[f"sampled mean {name}"]["values"], num / claims_aliasing_learners.NUM_EPISODES
        assert abs(np.mean(sampled) - 2) < 5 * error * np.sqrt(per_seed / NUM_SEEDS)
        assert len(set(sampled)) == NUM_SEEDS


def test_memory_shows_the_last_observation_and_changes_nothing_else(key):
    grid = envs.aliased_gridworld()
    memory = claims_aliasing_learners.remembering(grid)
    path, _ = envs.rollout(key, memory, np.full((20, 4), 0.25), 200, time_limit=9)
    seen, before = np.asarray(path.observation) % 4, np.asarray(path.observation) // 4
    ended = np.asarray(path.terminated | path.truncated)
    np.testing.assert_array_equal(seen, np.asarray(grid.observation)[np.asarray(path.state) // 5])
    np.testing.assert_array_equal(before, np.r_[0, np.where(ended, 0, seen + 1)[:-1]])
    with jax.enable_x64(True):
        policy = np.random.default_rng(0).dirichlet(np.ones(4), 4)
        value = float(envs.start_value(memory, np.tile(policy, (5, 1)), 0.9))
    assert value == pytest.approx(by_hand(policy[[0, 1, 2, 1, 3]], 0.9))


def test_learners_find_what_their_class_holds(small_run):
    rows, _ = small_run
    for i, discount in enumerate((1.0, 0.9)):
        best = {name: statements.TABLE[name][i] for name in ("stochastic", "with memory")}
        found = {
            name: np.array(rows[f"{name} {discount:g}"]["values"]) for name in ("actor", "greedy", "remembers")
        }
        assert np.all(found["actor"] <= best["stochastic"] + 1e-3)
        assert np.all(found["actor"] > best["stochastic"] - 0.1)
        np.testing.assert_allclose(found["remembers"], best["with memory"], rtol=3e-4)
        walking = by_hand(toward(1, 1), discount, limit=50)
        np.testing.assert_allclose(np.median(found["greedy"]), walking)
        one = rows[f"actor {discount:g}"]
        assert one["over"] == "seeds"
        assert len(set(one["values"])) == NUM_SEEDS


def test_the_figure_says_what_is_infinite(small_run, tmp_path):
    rows, data = small_run
    results.write_json(tmp_path / "d.json", {"figure": data, "rows": list(rows.values())})
    figure = claims_aliasing_plots.draw(results.read_json(tmp_path / "d.json"))
    texts = [[text.get_text() for text in panel.texts] for panel in figure.axes]
    assert sum("infty" in text for text in texts[0]) == 1
    assert not any("infty" in text for text in texts[1])
    assert {"-2.6", "-3.8", "-17.44"} <= set(texts[0])
    assert [panel.get_title()[-3:] for panel in figure.axes] == ["t 1", "0.9", "t 1"]
    figure.savefig(tmp_path / "d.png")
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one class"):
        claims_aliasing_plots.draw({"figure": {"classes": []}})
