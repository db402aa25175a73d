"""What a log and a program are told while a study runs."""

import json
from datetime import datetime
from typing import Any

import pytest

from neuroiou_study.report.live.event_log import EventLog
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Epoch, News, Postponed
from tests.report.live.news import NEWS, ended, trial


def lines(*news: News) -> list[str]:
    """What is said of ``news``, without the time."""
    said: list[str] = []
    log = EventLog(9, said.append)
    for item in news:
        log(item)
    for line in said:
        datetime.fromisoformat(line.split()[0])
    return [line.partition(" ")[2] for line in said]


def events(*news: News) -> list[dict[str, Any]]:
    said: list[str] = []
    log = EventLog(9, said.append, as_json=True)
    for item in news:
        log(item)
    return [json.loads(line) for line in said]


def test_a_line_for_each_event() -> None:
    said = lines(*NEWS, Postponed(trial(2)), ended(2, "failed", None, "the loss\nis nan"))
    assert said[:2] == ["shared pretrain 2/2: loss 0.5", "ce-000 begun: finetune.lr 0.00123"]
    assert said[4] == "ce-000 finetune 1/3: select_miou 0.3"
    assert said[5].startswith(
        "ce-000 complete: select mIoU 0.4321 in 1 s (1/9 trials, 2 running · best 0.4321 (ce-000)"
    )
    assert said[7] == "ce-002 postponed: another trial makes what it needs"
    assert said[8].startswith("ce-002 failed: the loss is nan in 1 s (3/9 trials, 0 running, 1 pruned, 1 failed")


def test_epochs_are_told_now_and_then_and_the_last_always(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1000, 4))
    monkeypatch.setattr(f"{EventLog.__module__}.time.monotonic", lambda: next(moments))
    epochs = [Epoch(None, Progress("pretrain", 0, number, 9, {})) for number in range(1, 10)]
    assert [line.split()[2] for line in lines(*epochs)] == ["1/9:", "4/9:", "7/9:", "9/9:"]
    assert [event["epoch"] for event in events(*epochs)] == list(range(1, 10)), "a program is told of all"


def test_a_program_gets_json() -> None:
    said = events(*NEWS, ended(2, "failed", float("nan"), "why"))
    assert [each["event"] for each in said] == ["epoch", "begun", "begun", "begun", "epoch", "ended", "ended", "ended"]
    assert said[0]["trial"] is None and said[0]["stage"] == "pretrain" and said[0]["metrics"] == {"loss": 0.5}
    assert said[1]["values"] == {"finetune.lr": 0.00123456} and said[1]["arm"] == "ce"
    assert (said[5]["trial"], said[5]["state"], said[5]["score"]) == ("ce-000", "complete", 0.4321)
    assert (said[7]["score"], said[7]["error"]) == (None, "why")
    assert all(datetime.fromisoformat(each["time"]).tzinfo is not None for each in said)
