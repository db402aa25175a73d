"""The commands as Markdown, from the program that ``--help`` asks too."""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from neuroiou_study.cli import app

PROGRAM = "neuroiou-study"


def command_line() -> str:
    """A section for each command: what it does, its usage, its arguments and options."""
    program = get_command(app)
    return "\n".join([*_epilog(program), *_sections(program, PROGRAM)])


def _epilog(program: Any) -> Iterator[str]:
    yield from (_line(program.help), "", _line(program.epilog), "")


def _sections(group: Any, name: str) -> Iterator[str]:
    for command in group.commands.values():
        full = f"{name} {command.name}"
        if hasattr(command, "commands"):
            yield from _sections(command, full)
        else:
            yield from _section(command, full)


def _section(command: Any, name: str) -> Iterator[str]:
    params = [each for each in command.params if each.name != "help" and not getattr(each, "hidden", False)]
    arguments = [each for each in params if each.param_type_name == "argument"]
    yield from (f"## {name}", "", *_paragraphs(command.help or ""), "")
    yield from ("```text", " ".join([name, *map(_placeholder, arguments), "[OPTIONS]"]), "```", "")
    yield from ("| | default | |", "|---|---|---|")
    for each in params:
        yield f"| {_name(each)} | {_default(each)} | {_cell(_help(each))} |"
    yield ""


def _paragraphs(text: str) -> Iterator[str]:
    for part in text.split("\n\n"):
        yield from (_line(part), "")


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _placeholder(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return str(name) if argument.required else f"[{name}]"


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_placeholder(param)}`"
    names = ", ".join([*param.opts, *param.secondary_opts])
    return f"`{_cell(names)}{_value(param)}`"


def _value(option: Any) -> str:
    if getattr(option, "is_flag", False):
        return ""
    choices = _choices(option)
    kind = option.type_descriptor
    return " " + _cell(option.metavar or choices or str(getattr(kind, "name", "value")).upper())


def _choices(param: Any) -> str:
    return "|".join(str(getattr(each, "value", each)) for each in getattr(param.type_descriptor, "choices", None) or ())


def _default(param: Any) -> str:
    default = param.default
    if param.required:
        return "*required*"
    if default is None or default in ("", [], ()) or callable(default) or getattr(param, "is_flag", False):
        return ""
    return f"`{getattr(default, 'value', default)}`"


def _help(param: Any) -> str:
    said = _line(getattr(param, "help", ""))
    variable = getattr(param, "envvar", None)
    return f"{said} Or by the variable `{variable}`." if variable else said
