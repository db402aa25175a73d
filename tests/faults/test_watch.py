"""What a study writes is seen as it is written."""

from pathlib import Path

from tests.faults.watch import watched

PATIENCE_SECONDS = 10.0


def never() -> bool:
    return False


def test_a_stage_is_seen_to_begin_to_be_written_and_to_be_complete(tmp_path: Path) -> None:
    partial = tmp_path / "stages" / "finetune" / "0123456789abcdef.partial"
    address = "finetune/0123456789abcdef"
    with watched(tmp_path / "stages") as watch:
        partial.mkdir(parents=True)
        assert watch.wait(lambda: watch.is_begun(address), never, PATIENCE_SECONDS)
        assert watch.in_progress() == [address]
        (partial / "history.jsonl").write_text("{}\n")
        assert watch.wait(lambda: watch.events[-1].what == "written", never, PATIENCE_SECONDS)
        partial.rename(partial.with_suffix(""))
        assert watch.wait(lambda: watch.is_complete(address), never, PATIENCE_SECONDS)
        assert watch.in_progress() == []
        [span] = watch.spans()
    assert (span.address, span.stage) == (address, "finetune")
    assert 0 < span.seconds < PATIENCE_SECONDS


def test_what_does_not_come_is_not_waited_for_when_all_is_over(tmp_path: Path) -> None:
    with watched(tmp_path) as watch:
        assert not watch.wait(lambda: watch.is_begun("finetune/0"), lambda: True, PATIENCE_SECONDS)


def test_copies_and_locks_of_a_bucket_are_no_stages(tmp_path: Path) -> None:
    stage = tmp_path / "finetune"
    for name in (".0123", "0123456789abcdef.lock", "0123456789abcdef.glance", "0123456789abcdef"):
        (stage / name).mkdir(parents=True)
    with watched(tmp_path) as watch:
        assert watch.wait(lambda: watch.is_begun("finetune/0123456789abcdef"), never, PATIENCE_SECONDS)
        assert [event.address for event in watch.events] == ["finetune/0123456789abcdef"]
