"""Sphinx configuration. From the root: `python -m sphinx -W --keep-going -j 4 docs docs/_build/html`."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "_ext")]
# The pages' kernels import this checkout, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jaxlib.version  # noqa: E402

# Pages are many small programs that run once: no time spent on optimizing them.
if not os.environ.get("XLA_FLAGS"):
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    if jaxlib.version.__version_info__[:2] == (0, 10):  # later versions do not have it
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import pgjax  # noqa: E402

project = "pgjax"
author = "The pgjax authors"
copyright = author
version = release = pgjax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "docstrings",
    "mathml",
]
exclude_patterns = ["_build"]
# Every reference must resolve. Not ours, and shown as a default value in signatures of Flax modules:
nitpicky = True
nitpick_ignore = [("py:class", "jax.numpy.float32")]

# Pages: every code cell runs in every build; an error, or anything written to stderr, fails it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 200
nb_output_stderr = "warn"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Reference: docstrings give shapes and meaning in words, which annotations would only repeat.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autosummary_generate = False
python_maximum_signature_line_length = 84

html_theme = "sphinx_book_theme"
html_title = "pgjax"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}


def spread_executed_pages(app, env, docnames):
    """Order the pages so that those with code are spread evenly over the processes that read them."""
    executed = [name for name in docnames if "file_format: mystnb" in Path(env.doc2path(name)).read_text("utf-8")]
    plain = [name for name in docnames if name not in executed]
    place = {name: (i + 0.5) / len(names) for names in (executed, plain) for i, name in enumerate(names)}
    docnames.sort(key=place.__getitem__)


def setup(app):
    app.connect("env-before-read-docs", spread_executed_pages)
