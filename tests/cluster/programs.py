"""The programs of this machine that make hosts."""

import os
import shlex
import shutil
import subprocess
import sys

PACKAGES = {
    "ip": "iproute2",
    "ss": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
_TRIAL = "ip link add name b type bridge && ip link add name v type veth peer name w && mount -t tmpfs tmpfs /tmp"


def need_hosts() -> str | None:
    """What this machine lacks for hosts and where that comes from; None if it lacks nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts need network namespaces: run as root on Linux"
    missing = sorted({package for name, package in PACKAGES.items() if program(name) is None})
    if missing:
        return f"hosts need {', '.join(missing)}: apt-get install {' '.join(missing)}"
    own = ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--mount-proc", "sh", "-c", _TRIAL]
    tried = subprocess.run(own, capture_output=True, text=True, check=False)
    return f"hosts need rights of the kernel: {tried.stderr.strip()}" if tried.returncode else None


def run(*command: str) -> str:
    """What ``command`` prints. Raises RuntimeError with its own words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def program(name: str) -> str | None:
    """sshd wants to be started by its full path, and may not be on the PATH of a user."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
