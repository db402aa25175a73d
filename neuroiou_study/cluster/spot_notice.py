"""Beside a worker: hears that the market takes its machine, and drains the node while there is time.

Usage: ``python -m neuroiou_study.cluster.spot_notice aws|gcp``, after ``ray start``, in the environment of the node.
What the workers of a study do then is in ``orchestrate/line.py``: they keep their state after the step they are at, and
go on elsewhere. It ends when it has drained the node, or when Ray has ended on it. The metadata service is that of the
cloud, or of AWS_EC2_METADATA_SERVICE_ENDPOINT and GCE_METADATA_HOST, as the clouds' own libraries have it.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ASK_SECONDS = 2.0
"""AWS says so two minutes before, Google half of one."""
ANSWER_SECONDS = 2.0
GOOGLE_LEAVES = 30.0
"""Seconds from the notice to the end; *cited* (Google's documentation of Spot VMs)."""
RESERVE_SECONDS = 5.0
"""The node is to be empty so long before the machine goes."""
Notice = Callable[[], float | None]
"""Seconds that are left to this machine, or None if nobody takes it. Raises OSError if the service does not answer."""


def main(arguments: Sequence[str]) -> int:
    """Watch until the node is drained or Ray is gone; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m neuroiou_study.cluster.spot_notice", description=__doc__)
    parser.add_argument("cloud", choices=sorted(NOTICES))
    hear = _heard(NOTICES[parser.parse_args(arguments).cloud])
    while (node := _own_node()) is not None:
        if (left := hear()) is not None and _drain(node, left):
            return 0
        time.sleep(ASK_SECONDS)
    _say("Ray has ended here")
    return 0


def _heard(notice: Notice) -> Notice:
    """``notice``, which hears nothing while the service is away or talks nonsense, and says so once each time."""
    was_away = False

    def hear() -> float | None:
        nonlocal was_away
        try:
            left, was_away = notice(), False
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            if not was_away:
                _say(f"the metadata service does not answer: {error!r}")
            left, was_away = None, True
        return left

    return hear


def aws_notice() -> float | None:
    """What EC2 says, by a session token (IMDSv2)."""
    service = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = _ask(f"{service}/latest/api/token", lifetime, method="PUT")
    said = _ask(f"{service}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token or ""})
    if said is None:
        return None
    end = datetime.fromisoformat(json.loads(said)["time"])
    return max(0.0, (end - datetime.now(UTC)).total_seconds())


def gcp_notice() -> float | None:
    """What Compute Engine says."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    said = _ask(f"http://{host}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return GOOGLE_LEAVES if said == "TRUE" else None


NOTICES: Mapping[str, Notice] = {"aws": aws_notice, "gcp": gcp_notice}


def _ask(url: str, headers: Mapping[str, str], method: str = "GET") -> str | None:
    """The answer, or None if there is no such thing."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310  http, of this machine
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with without_proxy.open(request, timeout=ANSWER_SECONDS) as answer:
            return str(answer.read(10_000).decode())
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def _drain(node: Sequence[str], left: float) -> bool:
    """Tell Ray that ``node`` goes in ``left`` seconds; returns whether Ray has heard it."""
    _say(f"the market takes this machine in {left:.0f} s: draining the node")
    seconds = max(1, round(left - RESERVE_SECONDS))
    command = [str(Path(sys.executable).with_name("ray")), "drain-node", *node]
    reason = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=taken by the spot market"]
    done = subprocess.run([*command, *reason, f"--deadline-remaining-seconds={seconds}"], check=False)  # noqa: S603
    _say("drained" if done.returncode == 0 else f"ray drain-node: exit {done.returncode}")
    return done.returncode == 0


def _own_node() -> list[str] | None:
    """Options that name the Ray node of this container or machine, and its cluster; None if none runs here.

    They are among those with which its raylet was started. To ask Ray would start a driver first, which takes seconds.
    """
    for process in Path("/proc").glob("[0-9]*"):
        if _text(process / "comm") == "raylet\n":
            options = dict(word.partition("=")[::2] for word in _text(process / "cmdline").split("\0"))
            if "--node_id" in options and "--gcs-address" in options:
                return [f"--address={options['--gcs-address']}", f"--node-id={options['--node_id']}"]
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # the process has ended
        return ""


def _say(what: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
