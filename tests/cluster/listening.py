"""Who listens on which port of a host."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import PurePath

import psutil

_OWNER = re.compile(r'\("([^"]*)",pid=(\d+)')


@dataclass(frozen=True, order=True)
class Listening:
    """``process`` waits for connections to ``port`` at ``address``; 0.0.0.0, :: and * are all addresses."""

    port: int
    address: str
    process: str


def listening(inside: list[str]) -> list[Listening]:
    """On what processes listen where ``inside`` makes a command run, by TCP and UDP, in order."""
    command = [*inside, "ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp", "--processes"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted({_parsed(line) for line in lines})


def _parsed(line: str) -> Listening:
    _, _, _, _, local, _, *users = line.split(maxsplit=6)
    address, _, port = local.rpartition(":")
    owner = _OWNER.search(" ".join(users))
    return Listening(int(port), address.strip("[]"), _title(*owner.groups()) if owner else "")


def _title(name: str, pid: str) -> str:
    """What the process is: Ray's Python processes call themselves by a title, other programs are a module or file."""
    try:
        words = psutil.Process(int(pid)).cmdline()
    except psutil.NoSuchProcess:
        return name
    if words and words[0].startswith("ray::"):
        return words[0]
    if "-m" in words[:4]:
        return words[words.index("-m") + 1]
    script = next((word for word in words if word.endswith(".py")), words[0] if words else name)
    return PurePath(script).name.rstrip(":")
