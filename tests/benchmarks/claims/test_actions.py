"""Claim f: statements before the run, made-up times and verdicts that flip, what each way samples, the figure."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from scipy import special, stats

from studies.claims.actions import measure as actions
from studies.claims.actions import plots as claims_actions_plots
from studies.common import results
from studies.common.acting.tasks import STATE_SIZE
from studies.common.timing import Timing
from tests.benchmarks.runs import judged_run

pytestmark = pytest.mark.deep  # it runs the study

NUM_ROUNDS, NUM_SAMPLES = 4, 20_000
FLAT_WAYS = (actions.ARGMAX, actions.SOFTMAX)
SEVERAL = (actions.SAMPLE, actions.SEQUENTIAL, actions.GREEDY)
COUNTS = {1: tuple(10**k for k in range(1, 7)), 16: tuple(10**k for k in range(1, 6))}
EXACT = {"parameters flat": 65_000_000, "parameters 6 dimensions": 3_900, "parameters Gaussian sample": 396}


def made_up_times():
    """(way, number of actions, batch size) -> seconds in each round, with which every statement holds."""
    constant = {actions.SAMPLE: 9e-6, actions.SEQUENTIAL: 9.5e-6, actions.GREEDY: 8e-6, actions.GAUSSIAN: 5e-6}
    times = {}
    for batch_size, counts in COUNTS.items():
        for count in counts:
            by_way = constant | {actions.ARGMAX: 1e-6 * count, actions.SOFTMAX: 0.9e-6 * count}
            for way, time_s in by_way.items():
                times[way, count, batch_size] = np.full(NUM_ROUNDS, time_s)
    return times


def judged(times):
    """The rows by statement."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(actions, "measure_times", lambda seed: times)
        return judged_run(actions, num_seeds=2, seed=0)[0]


@pytest.fixture(scope="module")
def small_ways():
    """Ten actions; their ways to act and parameters."""
    return actions.ways_of(10, np.random.default_rng(1))


def test_statements_are_there_before_the_run():
    statements = actions.STATEMENTS
    said = [name for (name, _), statement in statements.items() if statement.says == "chapter"]
    assert said == ["chapter", "chapter"]
    for key, row in judged(made_up_times()).items():
        assert row["expected"] == [statements[key].low, statements[key].high]
        assert (row["condition"], row["quantity"]) == statements[key][:2]
        assert row["over"] == ("rounds" if key[1] else "cases")


def test_bins_are_the_fewest_that_make_enough_actions():
    for num_bins in range(2, 14):
        power = num_bins**6
        assert [actions.bins(n) for n in (power - 1, power, power + 1)] == [num_bins, num_bins, num_bins + 1]
    for count in actions.ACTION_COUNTS:
        assert actions.bins(count) ** 6 >= count > (actions.bins(count) - 1) ** 6


def test_last_layers_have_so_many_parameters(monkeypatch):
    """Weights and biases of 64 features; the Gaussian's spread is a number for each dimension."""
    found = {("parameters " + name, 0): number for name, number in actions.num_parameters().items()}
    assert found == {(name, 0): number for name, number in EXACT.items()}
    for key, number in found.items():
        assert actions.STATEMENTS[key].exact == number
    rows = judged(made_up_times())
    assert {rows[key]["verdict"] for key in found} == {"holds"}
    wrong = actions.num_parameters() | {actions.FACTORED: 3_901}
    monkeypatch.setattr(actions, "num_parameters", lambda: wrong)
    rows = judged(made_up_times())
    assert [row["condition"] for row in rows.values() if row["verdict"] == "contradicted"] == [actions.FACTORED]


def test_every_row_is_what_its_statement_says(rng):
    """From random times; which ways, numbers of actions and batch size are read off the statement's words."""
    times = {key: rng.uniform(1e-6, 1e-3, NUM_ROUNDS) for key in made_up_times()}
    rows = judged(times)
    assert len(rows) == 2 * 10 + 3

    def number(text):
        return int(text.replace(",", ""))

    for (name, batch_size), row in rows.items():
        if name.startswith("parameters"):
            continue
        assert row["condition"].endswith(f"batch of {batch_size}")
        if name == "growth":
            many, few = map(number, re.findall(r"[\d,]+\d", row["quantity"]))
            way = row["condition"].removesuffix(f", batch of {batch_size}")
            expected = times[way, many, batch_size] / times[way, few, batch_size]
        elif name.startswith("slope"):
            least, most = (number(text) for text in re.findall(r"([\d,]+\d)", row["condition"])[:2])
            way = row["quantity"].removeprefix("log-log slope of the time of ")
            counts = [count for count in COUNTS[batch_size] if least <= count <= most]
            assert len(counts) == 3
            logs = np.log([times[way, count, batch_size] for count in counts])
            expected = (logs[2] - logs[0]) / np.log(100)  # least squares on three equal steps
        else:
            count = number(row["condition"].split(" actions")[0])
            slow, fast = row["quantity"].removeprefix("time of ").split(" / ")
            expected = times[slow, count, batch_size] / times[fast, count, batch_size]
        np.testing.assert_allclose(row["values"], expected, rtol=1e-9, err_msg=f"{name} {batch_size}")
        assert row["value"] == pytest.approx(np.median(expected))
        assert row["interval"] == pytest.approx([np.min(expected), np.max(expected)])


FLIPS = {  # statement -> how times change, (way, number of actions, times) -> times, and what else is contradicted
    "chapter": (lambda way, n, t: t * (1.5 if way == actions.SOFTMAX else 1), []),
    "slope softmax": (lambda way, n, t: np.full(NUM_ROUNDS, 9e-6) if way == actions.SOFTMAX else t, []),
    "slope argmax": (lambda way, n, t: t * n / 10 if way == actions.ARGMAX else t, []),
    "factored": (lambda way, n, t: t + (n * 2e-7 if way == actions.SAMPLE and n > 10 else 0), ["growth"]),
    "in turn": (lambda way, n, t: t + (n * 2e-7 if way == actions.SEQUENTIAL else 0), []),
    "Gaussian": (lambda way, n, t: t + (n * 2e-7 if way == actions.GAUSSIAN else 0), []),
    "values factored": (lambda way, n, t: t + (n * 2e-7 if way == actions.GREEDY else 0), ["values or policy"]),
    "values or policy": (lambda way, n, t: t * (2 if way == actions.GREEDY else 1), []),
    "growth": (lambda way, n, t: t * (3 if way == actions.SAMPLE and n > 10 else 1), []),
    "few": (lambda way, n, t: t * (3 if way == actions.SOFTMAX and n == 10 else 1), []),
}


def test_made_up_times_of_what_is_expected_hold():
    assert {key: row["values"] for key, row in judged(made_up_times()).items() if row["verdict"] != "holds"} == {}
    assert {name for name, batch_size in actions.STATEMENTS if batch_size} == set(FLIPS)


@pytest.mark.parametrize("batch_size", COUNTS)
@pytest.mark.parametrize("name", FLIPS)
def test_other_times_contradict_the_statement(name, batch_size):
    """In every round, and in its own batch size alone; where half the rounds agree the verdict is open."""
    change, others = FLIPS[name]
    times = made_up_times()
    changed = {
        key: change(key[0], key[1], time_s) if key[2] == batch_size else time_s for key, time_s in times.items()
    }
    verdicts = {key: row["verdict"] for key, row in judged(changed).items()}
    flipped = {key for key, verdict in verdicts.items() if verdict != "holds"}
    assert flipped == {(other, batch_size) for other in (name, *others)}
    assert {verdicts[key] for key in flipped} == {"contradicted"}
    half_agree = {key: np.r_[time_s[:2], changed[key][2:]] for key, time_s in times.items()}
    assert judged(half_agree)[name, batch_size]["verdict"] == "open"


def test_the_time_of_each_call_is_divided_among_its_decisions(monkeypatch):
    """All ways, numbers of actions and batch sizes take their turn in every round; each acts on its batch."""
    monkeypatch.setattr(actions, "ACTION_COUNTS", (10, 100))
    monkeypatch.setattr(actions, "LARGEST", {1: 100, 16: 10})
    monkeypatch.setattr(actions, "NUM_ROUNDS", 4)
    rounds = []

    def time_interleaved(calls, **limits):
        assert limits == actions.LIMITS
        rounds.append(calls)
        return {name: Timing.of([len(rounds) + 10.0 * i]) for i, name in enumerate(calls)}

    monkeypatch.setattr(actions, "time_interleaved", time_interleaved)
    times = actions.measure_times(0)
    expected = {(way, count, size) for way in actions.WAYS for count, size in ((10, 1), (100, 1), (10, 16))}
    assert set(times) == expected
    assert len(rounds) == 4
    for i, (key, time_s) in enumerate(times.items()):
        np.testing.assert_allclose(time_s, (10.0 * i + np.arange(1, 5)) / key[2])
    for (way, _, batch_size), (act, args) in zip(times, rounds[0].values(), strict=True):
        made = jax.eval_shape(act, *args)
        dims = () if way in FLAT_WAYS else (6,)
        assert made.shape == (() if batch_size == 1 else (16,)) + dims


def test_every_way_acts_within_its_range(key, rng):
    """Of a hundred actions; three a dimension are the fewest that make as many."""
    ways = actions.ways_of(100, rng)
    assert tuple(ways) == actions.WAYS
    observations = jnp.asarray(rng.standard_normal((200, STATE_SIZE)), jnp.float32)
    for way, key_way in zip(actions.WAYS, jax.random.split(key, len(actions.WAYS)), strict=True):
        act, params = ways[way]
        chosen = np.asarray(jax.jit(act)(params, key_way, observations))
        if way == actions.GAUSSIAN:
            assert chosen.shape == (200, 6)
            assert chosen.dtype == np.float32
            assert np.all(np.isfinite(chosen))
            continue
        most = 100 if way in FLAT_WAYS else 3
        assert chosen.shape == ((200,) if way in FLAT_WAYS else (200, 6))
        assert np.issubdtype(chosen.dtype, np.integer)
        assert chosen.min() >= 0
        assert chosen.max() < most
        if way in SEVERAL:
            assert set(np.unique(chosen)) == set(range(most))


def test_flat_ways_share_their_parameters(small_ways):
    values, policy = (small_ways[way][1]["params"] for way in FLAT_WAYS)
    assert values["torso"] is policy["torso"]
    assert values["values"] is policy["logits"]
    of_values = jax.eval_shape(actions.pgjax.QValues(10).init, jax.random.key(0), jnp.zeros(17))
    assert jax.tree.map(jnp.shape, {"params": values}) == jax.tree.map(jnp.shape, of_values)


def features_of(params, observation):
    """The torso, by NumPy in float64."""
    x = np.asarray(observation, np.float64)
    for layer in ("dense_0", "dense_1"):
        x = np.tanh(linear(params["torso"][layer], x))
    return x


def linear(layer, x):
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def test_greedy_ways_take_the_best_and_do_not_draw(small_ways, key, rng):
    observations = jnp.asarray(rng.standard_normal((50, 17)), jnp.float32)
    for way, shape in ((actions.ARGMAX, (10,)), (actions.GREEDY, (6, 2))):
        act, params = small_ways[way]
        q = linear(params["params"]["values"], features_of(params["params"], observations))
        chosen = [jax.jit(act)(params, jax.random.fold_in(key, i), observations) for i in range(2)]
        np.testing.assert_array_equal(chosen[0], np.argmax(q.reshape(50, *shape), axis=-1))
        np.testing.assert_array_equal(chosen[0], chosen[1])


@pytest.fixture(scope="module")
def draws(small_ways):
    """Many samples of each way that samples, for one observation."""
    observation = jnp.asarray(np.random.default_rng(2).standard_normal(17), jnp.float32)
    drawn = {}
    for i, way in enumerate((actions.SOFTMAX, actions.SAMPLE, actions.SEQUENTIAL, actions.GAUSSIAN)):
        act, params = small_ways[way]
        keys = jax.random.split(jax.random.key(i), NUM_SAMPLES)
        sample = jax.jit(jax.vmap(act, (None, 0, None)))
        drawn[way] = params["params"], np.asarray(sample(params, keys, observation))
    return observation, drawn


def p_value(chosen, probs):
    """Of a chi-squared test of indices against probabilities, all but the rarest expected five times or more."""
    expected = NUM_SAMPLES * probs
    counts = np.bincount(chosen, minlength=len(probs))
    rare = expected < 5
    if rare.any():
        counts = np.r_[counts[~rare], counts[rare].sum()]
        expected = np.r_[expected[~rare], expected[rare].sum()]
    return stats.chisquare(counts, expected).pvalue


def joint_index(chosen):
    """The number that six binary choices write."""
    return chosen @ (1 << np.arange(5, -1, -1))


def test_flat_softmax_samples_its_softmax(draws):
    observation, drawn = draws
    params, chosen = drawn[actions.SOFTMAX]
    probs = special.softmax(linear(params["logits"], features_of(params, observation)))
    assert p_value(chosen, probs) > 1e-4
    assert p_value(chosen, special.softmax(0.8 * np.log(probs))) < 1e-4, "a test that another temperature fails"


def test_factored_choices_are_independent_softmaxes(draws):
    observation, drawn = draws
    params, chosen = drawn[actions.SAMPLE]
    logits = linear(params["logits"], features_of(params, observation)).reshape(6, 2)
    of_dims = special.softmax(logits, axis=-1)
    probs = np.array([math.prod(of_dims[range(6), each]) for each in itertools.product(range(2), repeat=6)])
    assert probs.sum() == pytest.approx(1)
    assert p_value(joint_index(chosen), probs) > 1e-4


def in_turn_probs(params, observation):
    """The probability of every sequence of six binary choices, each by its own chain of conditionals."""
    probs = []
    for sequence in itertools.product(range(2), repeat=6):
        features, prob = features_of(params, observation), 1.0
        for i, choice in enumerate(sequence):
            prob *= special.softmax(linear(params[f"Dense_{i}"], features))[choice]
            features = np.tanh(features + np.asarray(params[f"Embed_{i}"]["embedding"], np.float64)[choice])
        probs.append(prob)
    return np.array(probs)


def test_choices_in_turn_are_an_autoregressive_sample(draws):
    """Their joint frequencies are those of the enumerated chain, and not those of independent choices."""
    observation, drawn = draws
    params, chosen = drawn[actions.SEQUENTIAL]
    probs = in_turn_probs(params, observation)
    assert probs.sum() == pytest.approx(1)
    assert p_value(joint_index(chosen), probs) > 1e-4
    marginals = chosen.mean(axis=0)
    independent = [
        math.prod(np.where(each, marginals, 1 - marginals)) for each in itertools.product(range(2), repeat=6)
    ]
    assert p_value(joint_index(chosen), np.array(independent)) < 1e-4


def test_choices_in_turn_of_a_batch_are_each_observations_own(small_ways, rng):
    """Frequencies of the first two choices over a batch of two observations repeated."""
    act, params = small_ways[actions.SEQUENTIAL]
    pair = rng.standard_normal((2, 17)).astype(np.float32)
    batch = jnp.asarray(np.repeat(pair, NUM_SAMPLES, axis=0))
    chosen = np.asarray(jax.jit(act)(params, jax.random.key(5), batch)).reshape(2, NUM_SAMPLES, 6)
    for observation, own in zip(pair, chosen, strict=True):
        assert p_value(joint_index(own), in_turn_probs(params["params"], observation)) > 1e-4
    assert p_value(joint_index(chosen[0]), in_turn_probs(params["params"], pair[1])) < 1e-4


def test_gaussian_samples_have_its_mean_and_spread(draws):
    observation, drawn = draws
    params, chosen = drawn[actions.GAUSSIAN]
    mean, std = linear(params["mean"], features_of(params, observation)), np.exp(params["log_std"])
    normalized = (chosen - mean) / std
    assert np.all(np.abs(normalized.mean(axis=0)) < 5 / np.sqrt(NUM_SAMPLES))
    assert np.all(np.abs(np.square(normalized).mean(axis=0) - 1) < 5 * np.sqrt(2 / NUM_SAMPLES))


def test_random_parameters_have_the_shapes_of_a_networks_own():
    policy = actions.pgjax.CategoricalPolicy(1000)
    drawn = [actions.parameters(policy, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    own = jax.eval_shape(policy.init, jax.random.key(0), jnp.zeros(17))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), drawn[0]) == jax.tree.map(lambda x: (x.shape, x.dtype), own)
    kernels = [np.asarray(params["params"]["logits"]["kernel"]) for params in drawn]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert kernels[0].std() == pytest.approx(1 / 8, rel=0.02)


def test_measure_judges_the_times_of_its_seed(monkeypatch):
    seeds = []

    def measure_times(seed):
        seeds.append(seed)
        return made_up_times()

    monkeypatch.setattr(actions, "measure_times", measure_times)
    rows = list(judged_run(actions, num_seeds=2, seed=7)[0].values())
    assert seeds == [7]
    assert [row["value"] for row in rows[-3:]] == list(EXACT.values())
    assert {row["verdict"] for row in rows} == {"holds"}


def test_the_figure_has_a_panel_a_batch_size_and_a_line_a_way(rng, tmp_path):
    times = {key: time_s * rng.uniform(0.8, 1.2, NUM_ROUNDS) for key, time_s in made_up_times().items()}
    results.write_json(tmp_path / "f.json", {"figure": actions.figure_data(times), "rows": []})
    figure = claims_actions_plots.draw(results.read_json(tmp_path / "f.json"))
    assert [panel.get_title() for panel in figure.axes] == ["batch of 1", "batch of 16"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(actions.WAYS)
    assert "time per decision" in figure.axes[0].get_ylabel()
    for panel, (batch_size, counts) in zip(figure.axes, COUNTS.items(), strict=True):
        assert "|A|" in panel.get_xlabel()
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
        drawn = [container for container in panel.containers if isinstance(container, ErrorbarContainer)]
        assert [container.get_label() for container in drawn] == list(actions.WAYS)
        for container in drawn:
            way, (line, _, (bars,)) = container.get_label(), container.lines
            own = np.array([times[way, count, batch_size] for count in counts])
            np.testing.assert_allclose(np.asarray(line.get_xydata()), np.c_[counts, np.median(own, axis=1)])
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            np.testing.assert_allclose(ends, np.c_[own.min(axis=1), own.max(axis=1)])
            is_value = to_hex(line.get_color()) == to_hex(claims_actions_plots.VALUE_COLOR)
            assert is_value == (way in (actions.ARGMAX, actions.GREEDY))
            assert (line.get_linestyle() == "-") == (way in FLAT_WAYS)
    looks = {(line.get_color(), line.get_linestyle()) for line in (c.lines[0] for c in drawn)}
    assert len(looks) == len(actions.WAYS)
    figure.savefig(tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    width, height = figure.get_size_inches()
    assert 6 < width < 15
    assert 3 < height < 8


def test_the_figure_needs_times():
    with pytest.raises(ValueError, match="at least one line of times"):
        claims_actions_plots.draw({"figure": {"lines": []}, "rows": []})
