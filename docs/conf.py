"""Configuration of the documentation site: ``tox run -e docs`` builds it into ``docs/_build``."""

import os
import re
import sys
import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_extensions"))
_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = _project["urls"]["Repository"]

project = _project["name"]
author = "napari-nh2st developers"
copyright = author
release = installed_version(project)
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "reference_tables",
]
exclude_patterns = ["_build", "_extensions", "_static"]

# --- pages ---
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page whose sections begin below a title of the theme

# --- notebooks: run where their code or the package has changed, and outputs are no part of git ---
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900  # seconds a cell
nb_merge_streams = True
nb_output_stderr = "remove"  # progress

# --- functions and classes ---
default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource"}
# Docstrings say in words what a parameter is; types stand in the signature, in short.
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

# --- links to other sites: tox run -e links ---
# Scripts make the anchors of GitHub's pages, and what is linked there is ours to keep.
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]
linkcheck_timeout = 30
linkcheck_retries = 3

# --- looks ---
html_theme = "pydata_sphinx_theme"
html_title = "NH2ST for napari"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "github_url": REPOSITORY,
    "header_links_before_dropdown": 6,
    "navigation_depth": 3,
    "show_toc_level": 2,
    "use_edit_page_button": False,
}
html_sidebars = {"index": [], "changelog": [], "benchmarks": []}


def _link_to_repository(_app: Any, page: str, source: list[str]) -> None:
    """Files of the repository that are no page: their links lead to the repository."""

    def link(match: re.Match[str]) -> str:
        place = Path(os.path.normpath((HERE / page).parent / match[1]))
        if place.is_relative_to(HERE):
            return match[0]
        return (
            f"]({REPOSITORY}/blob/main/{place.relative_to(HERE.parent).as_posix()}{match[2] or ''})"
        )

    source[0] = re.sub(r"\]\((\.\./[^)#]+)(#[^)]*)?\)", link, source[0])


def setup(app: Any) -> None:
    """Connect to the build."""
    app.connect("source-read", _link_to_repository)
