"""The README's tables are those of the committed results, and each stays between its own markers."""

import pytest
import readme


def test_every_table_of_the_readme_is_made_from_the_committed_results():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.updated(text) == text


def test_a_section_fills_its_own_markers_only():
    other = "<!-- table: begin -->\nkept\n<!-- table: end -->"
    text = f"a\n{other}\n<!-- argmax: begin -->\nold\n<!-- argmax: end -->\nz\n"
    assert readme.insert(text, "new", "argmax") == text.replace("old", "new")


@pytest.mark.parametrize("text", ["no markers", "<!-- argmax: end --> before <!-- argmax: begin -->"])
def test_a_readme_without_markers_is_refused(text):
    with pytest.raises(ValueError, match="argmax: begin"):
        readme.insert(text, "new", "argmax")
