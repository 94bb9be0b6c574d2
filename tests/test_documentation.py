"""README's examples run, and its commands name what exists."""

import re
from pathlib import Path

import pytest

from tests.settings import default_settings

ROOT = Path(__file__).parents[1]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_the_readmes_examples_run_and_print_what_the_readme_says(capsys):
    with default_settings():
        exec(compile("".join(blocks("python")), "README.md", "exec"), {})
    (words, numbers), (said, expected) = map(parted, (capsys.readouterr().out, "".join(blocks("text"))))
    assert words == said
    sampled, learned, searched = numbers
    assert [f"{x:.1e}" for x in (sampled, searched)] == [f"{x:.1e}" for x in (expected[0], expected[2])]
    assert learned == pytest.approx(expected[1], rel=0.03)  # 400 steps multiply what rounding differs in


def parted(text):
    """A text without its numbers with a point, and these."""
    number = r"-?\d+\.\d+(?:e-?\d+)?"
    return re.sub(number, "#", text).split(), [float(found) for found in re.findall(number, text)]


def test_the_readmes_commands_name_what_exists():
    commands = "\n".join(blocks("bash"))
    for path in re.findall(r"[\w/]+\.(?:py|json)", commands):
        assert (ROOT / path).exists(), path
