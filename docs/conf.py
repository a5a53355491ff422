"""Sphinx's configuration: MyST pages, the theme furo, and a reference that the code generates.

Nothing is loaded from outside, neither at the build nor by a reader: no intersphinx, no CDN, no
fonts. ``make docs`` builds with warnings as errors.
"""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import diagrams  # noqa: E402 - beside this file
import reference_pages  # noqa: E402 - as above

_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _project["name"]
author = "the aoi-events contributors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name for it
release = version = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4

nitpicky = True
# The API pages show public names; what those refer to inside the package has no page.
nitpick_ignore_regex = [("py:.*", ".*")]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"aoi-events {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_copy_source = False

# Both write files that pages include or show, so they come before the pages are read.
reference_pages.write(HERE / "_generated")
diagrams.write(HERE / "_static")
