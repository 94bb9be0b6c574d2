"""A made-up result of the argmax benchmark, of the size and shape of a real one."""

import math

FAMILIES = {  # method label by budget, seconds an evaluation, regret's constant and exponent
    "grid": ("grid @ {0}", 3e-8, 1.0, 0.25),
    "uniform search": ("uniform @ {0}", 3e-8, 0.9, 0.33),
    "cross-entropy": ("CEM 8 steps, 5% elites @ {0}", 5e-8, 2.0, 0.6),
    "MPPI": ("MPPI 6 steps, temperature 30 @ {0}", 6e-8, 1.8, 0.5),
    "CMA-ES": ("CMA-ES 32 samples, sigma 0.6 @ {0}", 2e-7, 4.0, 0.7),
    "coordinate zoom": ("zoom 3 levels, 5 bins @ {0}", 5e-8, 0.7, 0.3),
    "Adam": ("Adam 16 starts, rate 0.05 @ {0}", 1.5e-7, 6.0, 1.0),
    "SGD": ("SGD 8 starts @ {0}", 1.4e-7, 5.0, 0.8),
    "L-BFGS": ("L-BFGS 16 starts @ {0}", 2e-7, 9.0, 1.4),
    "Newton": ("Newton 4 starts @ {0}", 4e-7, 7.0, 1.3),
    "CEM + L-BFGS": ("CEM 4 steps, L-BFGS 4 starts @ {0}", 1.6e-7, 8.0, 1.2),
    "best of N": ("best of N @ {0}", 4e-8, 0.5, 0.2),
}
BUDGETS = (64, 256, 1024, 4096, 16384, 65536)
SIZES = (1, 256, 4096)
PROBLEMS = {  # title, family, dimensions, seconds factor, difficulty, batch sizes
    "six_joint_arm": ("six-joint arm", "arm", 6, 1.0, 1.0, SIZES),
    "critic_2x64": ("ReLU critic 2x64", "critics", 6, 3.0, 0.8, SIZES),
    "critic_2x256": ("ReLU critic 2x256", "critics", 6, 20.0, 0.9, SIZES),
    "quadratic_6": ("concave quadratic", "quadratics", 6, 0.5, 1.6, (256,)),
    "indefinite_6": ("indefinite quadratic", "indefinite quadratics", 6, 0.5, 1.2, (256,)),
    "peaks_6": ("planted peaks", "planted peaks", 6, 0.8, 0.6, (256,)),
    "rastrigin_6": ("Rastrigin", "separable", 6, 0.6, 0.4, (256,)),
    "trained_critic": ("trained critic", "critics", 6, 3.0, 0.9, (256,)),
} | {
    f"{name}_{dims}": (f"{title}, n = {dims}", family, dims, 0.1 * dims, ease, (256,))
    for name, title, family, ease in (
        ("quadratic", "concave quadratic", "quadratics", 1.6),
        ("peaks", "planted peaks", "planted peaks", 0.6),
    )
    for dims in (1, 2, 3, 4, 8, 12, 24)
}


def make_row(problem, method, batch_size=1, time_s=1e-4, regret=0.1, **changes):
    """A row as the benchmark writes it; `time_s` is of the call."""
    lost = {"median": regret, "p90": 2 * regret, "p99": 4 * regret, "mean": regret, "count": 1024}
    row = {"problem": problem, "num_dims": 6, "method": method, "family": "grid", "setting": "tuned"}
    row |= {"budget": 1024, "cost": 1024, "num_evaluations": 1024, "num_gradients": 0, "batch_size": batch_size}
    row |= {"time_per_call_s": time_s, "time_per_decision_s": time_s / batch_size}
    row |= {"time_per_decision_p99_s": 1.2 * time_s / batch_size, "compile_time_s": 1.0}
    row |= {"flops_per_decision": 1e5, "fraction_of_gemm": 0.123, "normalized_regret": lost}
    row |= {"normalized_regret_by_key": [regret, 1.5 * regret], "choice_regret": regret}
    row |= {"normalized_regret_upper": None, "bound_violations": 0, "skipped": None}
    row["success"] = {f"{level:g}": float(regret <= level) for level in (0.1, 0.01, 0.001)} | {"0.0001": 0.0}
    return row | changes


def make_result(rows=None):
    """The whole result; with rows, one of these alone."""
    problems = {
        name: {"title": title, "num_dims": dims, "num_states": 1024, "maximum": "exact", "family": family}
        for name, (title, family, dims, *_) in PROBLEMS.items()
    }
    problems["trained_critic"]["maximum"] = "bracketed"
    machine = {"cpu": "made up", "device_kind": "cpu", "usable_cores": 2, "versions": {"jax": "0.10"}}
    return {
        "study": "argmax",
        "runs": [machine | {"settings": {}}],
        "gemm": {"rate_flops": 1e11, "samples": [0.9e11, 1.1e11]},
        "problems": problems,
        "rows": _rows() if rows is None else rows,
        "peers": [make_peer(), make_peer("Sobol 1024", "evosax", 0.8, False)],
    }


def make_peer(method="grid 729", peer="scipy.optimize.brute", speedup=7.0, met=True):
    """A row of a peer beside pgjax's method of the same budget."""
    times = {"time_per_decision_s": 1e-3, "peer_time_per_decision_s": 1e-3 * speedup, "speedup": speedup}
    regrets = {"normalized_regret_median": 1e-3, "peer_normalized_regret_median": 2e-3}
    names = {"method": method, "peer": peer, "problem": "six_joint_arm", "batch_size": 1}
    return names | times | regrets | {"goal": 3.0 if met else 1.0, "met": met}


def _rows():
    rows = []
    for problem, (_, _, dims, slow, ease, sizes) in PROBLEMS.items():
        for number, (family, (label, per_s, constant, exponent)) in enumerate(FAMILIES.items()):
            for budget in BUDGETS if dims == 6 else (1024,):
                power = ease * exponent * (6 / dims if number < 2 else 1)
                regret = min(0.9, constant * budget**-power) * (1 + 0.3 * math.sin(7 * number + budget))
                own = {"family": family, "num_dims": dims, "budget": budget, "cost": budget - 7}
                if problem == "trained_critic":
                    own["normalized_regret_upper"] = {"median": regret + 0.02}
                if family == "grid":
                    own["fraction_of_gemm"] = 0.01
                for size in sizes:
                    time_s = 5e-5 + 0.7 * slow * per_s * budget * size
                    if time_s > 10:
                        own |= dict.fromkeys(("time_per_call_s", "time_per_decision_s", "normalized_regret"))
                        own["skipped"] = "a call predicted to take over 10 s"
                    rows.append(make_row(problem, label.format(budget), size, time_s, regret, **own))
        if dims == 6:
            for size in sizes:
                published = {"setting": "published", "budget": None, "cost": 131}
                rows += [
                    make_row(problem, "CEM 2x64/6", size, 8e-5 * size, 0.15, family="cross-entropy", **published),
                    make_row(problem, "grid 3^6", size, 9e-5 * size, 0.32, family="grid", **published),
                ]
        if problem == "six_joint_arm":
            for size in sizes:
                policy = {"family": "policy", "setting": "policy", "budget": None, "cost": 0}
                rows += [
                    make_row(problem, "Gaussian mean", size, 2e-5 + 1e-7 * size, 0.39, **policy),
                    make_row(problem, "Gaussian sample", size, 3e-5 + 2e-7 * size, 0.4, **policy),
                ]
    return rows
