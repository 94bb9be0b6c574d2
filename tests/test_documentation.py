"""README's examples run, and its commands name what exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_the_readmes_examples_run_and_print_what_the_readme_says(capsys):
    expected = "".join(blocks("text"))
    exec(compile("".join(blocks("python")), "README.md", "exec"), {})
    assert numbers_rounded(capsys.readouterr().out) == numbers_rounded(expected)


def numbers_rounded(text):
    """The text with its numbers to two digits: the last ones differ between machines."""
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda m: f"{float(m[0]):.1e}", text).split()


def test_the_readmes_commands_name_what_exists():
    commands = "\n".join(blocks("bash"))
    for path in re.findall(r"[\w/]+\.(?:py|json)", commands):
        assert (ROOT / path).exists(), path
