"""Sphinx's side: two directives that make pages from the code, and links to folders of the repository."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from _site.command_line import command_line
from _site.study_files import study_files


class _Made(SphinxDirective):
    """Markdown that a function makes, in the place of the directive."""

    make: ClassVar[Callable[[], str]]

    def run(self) -> list[nodes.Node]:
        parent = nodes.Element()
        parent.document = self.state.document
        lines = StringList(type(self).make().splitlines(), source=type(self).__name__)
        self.state.nested_parse(lines, self.content_offset, parent, match_titles=True)
        return parent.children


class StudyFiles(_Made):
    """Every key of a study file."""

    make = staticmethod(study_files)


class CommandLine(_Made):
    """Every command and option."""

    make = staticmethod(command_line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("study-files", StudyFiles)
    app.add_directive("command-line", CommandLine)
    app.connect("source-read", _name_folders)
    app.connect("autodoc-process-docstring", _keep_bars)
    return {"parallel_read_safe": True}


def _name_folders(app: Sphinx, document: str, source: list[str]) -> None:
    """A link to a folder, which the code host opens, becomes its name: a site has no page of it."""
    here = Path(app.env.doc2path(document)).parent

    def without_link(link: re.Match[str]) -> str:
        return f"`{link['text']}`" if (here / link["target"]).is_dir() else link[0]

    source[0] = re.sub(r"\[(?P<text>[^][]+)\]\((?P<target>[\w./-]+/)\)", without_link, source[0])


def _keep_bars(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """``|TP|`` is a number of pixels and no substitution."""
    for number, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[number] = "".join(
            part if part.startswith("``") else re.sub(r"\|(\w+)\|", r"\\|\1\\|", part) for part in parts
        )
