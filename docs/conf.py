"""The documentation as a site: ``make docs``. Sphinx reads the Markdown that the code host shows.

The source folder is the repository, so that a link from one file to another is right in both places.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for _site

project = "neuroiou-study"
author = "the maintainers of neuroiou-study"
copyright = "Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "_site.extension"]
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = ["*.md", "docs/*.md", "docs/reference/*.md", "cluster/*.md"]
exclude_patterns = ["**/.*", "runs", "build", "dist", "data", "docs/_build"]

highlight_language = "none"  # blocks without a language are drawings
smartquotes = False  # two hyphens begin an option
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpicky = True
nitpick_ignore_regex = [
    # Without a network no inventory of other projects can be read, so that their types are names without a link.
    ("py:.*", r"(torch|numpy|np|pydantic|pathlib|collections|typing|os)\..+"),
    ("py:class", r"neuroiou_study\.spec\..+"),  # reference/study_files has their keys
    ("py:class", r"Tensor|nn\.Module|Path|NDArray|Any|Callable|Iterator|Mapping|Sequence|Self|NoneType"),
    ("py:class", r"dict\[int|annotated_types\.Ge|FieldInfo|_PydanticGeneralMetadata"),
    ("py:class", r"neuroiou_study\.stages\.backend\.Result"),
]

# Docstrings name a neighbour as a reader of the module does; Sphinx wants to know its module.
nitpick_ignore = [
    ("py:meth", "Surrogate.load"),
    ("py:meth", "Inputs.features"),
    ("py:attr", "SegmentationLoss.sum_over_workers"),
    *(("py:data", name) for name in ("TP", "FP", "FN")),
    ("py:class", "Module"),
]

html_theme = "furo"
html_title = "neuroiou-study"
html_extra_path = ["_extra"]
html_copy_source = False
html_show_sphinx = False
