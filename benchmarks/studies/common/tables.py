"""Tables for the terminal and, as Markdown, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def new_table(title: str, heads: Sequence[str]) -> Table:
    """An empty table for the terminal, its first column to the left and the others to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=number > 0)
    return table


def as_markdown(table: Table) -> str:
    """A table of the terminal as Markdown, without its title and colors."""
    heads = [str(column.header) for column in table.columns]
    columns = [[Text.from_markup(str(cell)).plain for cell in column.cells] for column in table.columns]
    return markdown_table(heads, list(zip(*columns, strict=True)))


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, columns mostly of numbers to the right."""
    filled = [[row[i] for row in rows if row[i]] for i in range(1, len(heads))]
    numbers = [sum(cell[0] in "0123456789<-≤≥" for cell in cells) for cells in filled]
    ruler = ["---", *("--:" if 2 * n > len(cells) else "---" for n, cells in zip(numbers, filled, strict=True))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ruler, *rows))


def time_text(time_s: float) -> str:
    """A time in the unit that suits it, three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if time_s >= scale:
            return f"{time_s / scale:.3g} {unit}"
    return f"{time_s / 1e-9:.3g} ns"
