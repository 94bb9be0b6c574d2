"""Draw the claims' figures from a result alone: `python benchmarks/claims_plots.py RESULT.json`."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import claims_actions_plots
import claims_aliasing_plots
import claims_argmax_plots
import claims_comparison_plots
import claims_games_plots
import claims_gaussian_plots
import claims_smoothness_plots
from harness import read_json
from matplotlib.figure import Figure

DRAW: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "a": claims_argmax_plots.draw,
    "b": claims_gaussian_plots.draw,
    "c": claims_games_plots.draw,
    "d": claims_aliasing_plots.draw,
    "e": claims_smoothness_plots.draw,
    "f": claims_actions_plots.draw,
    "g": claims_comparison_plots.draw,
}


def plot_result(path: str | os.PathLike[str]) -> list[Path]:
    """Write `<stem>_<letter>.png` beside a result for each claim in it; returns their paths."""
    result, targets = read_json(path), []
    for letter, claim in result["claims"].items():
        target = Path(path).with_name(f"{Path(path).stem}_{letter}.png")
        rows = [row for row in result["rows"] if row["claim"] == letter]
        DRAW[letter](claim | {"rows": rows}).savefig(target, dpi=150)
        targets.append(target)
    return targets


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    print(*plot_result(parser.parse_args().result))
