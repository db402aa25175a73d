"""What a host has that is its own: home, ``/tmp/ray``, keys, and the settings of its sshd."""

import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.programs import program, run

# A host's disk is its folder; what it has in /dev/shm and /run is gone when it is switched off.
_INIT = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /tmp/ray {home}
mount --bind {disk}/tmp-ray /tmp/ray
mount --bind {disk}/home {home}
mount --bind {disk}/passwd /etc/passwd
mount --bind {disk}/hosts /etc/hosts
hostname {name}
exec {sshd} -D -e -f {disk}/sshd_config
"""
_SSHD = """ListenAddress {address}:22
HostKey {disk}/host_key
AuthorizedKeysFile {disk}/authorized_keys
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
SetEnv {environment}
"""


def make_disk(disk: Path, home: Path, key: Path, address: str, environment: Mapping[str, str]) -> Path:
    """``disk``, now with all that ``disk / "init"`` needs to boot a host of its name at ``address``.

    What is there already is kept. ``home`` is where the host finds its user's home, and ``key`` lets that user in.
    """
    for folder in ("home", "tmp-ray"):
        (disk / folder).mkdir(parents=True, exist_ok=True)
    if not (disk / "host_key").exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(disk / "host_key"))
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **environment}
    fields = {"disk": disk, "name": disk.name, "address": address, "home": home, "sshd": program("sshd")}
    (disk / "init").write_text(_INIT.format(**fields))
    (disk / "sshd_config").write_text(_SSHD.format(**fields, environment=" ".join(map(_setting, own.items()))))
    (disk / "authorized_keys").write_bytes(key.with_suffix(".pub").read_bytes())
    (disk / "hosts").write_text(f"127.0.0.1 localhost\n{address} {disk.name}\n")
    (disk / "passwd").write_text(_passwd(home))
    return disk


def _passwd(home: Path) -> str:
    """The users of this machine; who runs this has another ``home``."""
    me = pwd.getpwuid(os.getuid())
    lines = Path("/etc/passwd").read_text().splitlines()
    own = f"{me.pw_name}:x:{me.pw_uid}:{me.pw_gid}::{home}:/bin/bash"
    return "\n".join([own, *(line for line in lines if not line.startswith(f"{me.pw_name}:"))]) + "\n"


def _setting(variable: tuple[str, str]) -> str:
    text = "=".join(variable).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
