import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.stages.objects import FolderObjects, Objects, StoreUnavailableError, is_outage
from neuroiou_study.stages.s3_objects import PART_BYTES, S3Objects
from tests.servers.fixtures import need
from tests.servers.swift import Swift, missing_for_swift, swift
from tests.stages.processes import run_together
from tests.stages.relay import Relay, relay

CREATED, WRITERS = 15, 8


@pytest.fixture
def objects(bucket: str) -> S3Objects:
    return S3Objects(bucket, "store/")


@pytest.fixture(params=["folder", "bucket"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return FolderObjects(tmp_path)
    return S3Objects(request.getfixturevalue("bucket"), "store/")


@pytest.fixture
def between(bucket: str, s3: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    with relay(s3.endpoint) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        yield server


def test_objects_are_bytes_by_name(either: Objects) -> None:
    assert either.read("a/b") is None and either.age_seconds("a/b") is None and either.names("a") == []
    either.write("a/b", b"first")
    either.write("a/b", b"")
    assert either.read("a/b") == b""
    assert either.create("a/c", b"content") and not either.create("a/c", b"other")
    assert either.read("a/c") == b"content"
    either.write("a/deeper/d", b"")
    assert either.names("a") == ["b", "c"] and either.names("a/deeper") == ["d"]
    for _ in range(2):
        either.delete("a/b")
    assert either.names("a") == ["c"] and either.read("a/b") is None


def test_what_is_there_is_not_created_again_whoever_wrote_the_same(either: Objects) -> None:
    assert either.create("a", b"content") and not either.create("a", b"content")
    either.write("b", b"content")
    assert not either.create("b", b"content")


def test_a_touched_object_is_what_it_was_and_new(either: Objects) -> None:
    either.write("a", b"content")
    age = either.age_seconds("a")
    assert age is not None and -2 < age < 60
    either.touch("a")
    either.touch("nobody")
    assert either.read("a") == b"content" and either.names("") in ([], ["a"]) and either.read("nobody") is None


def test_age_is_by_the_server_s_clock(objects: S3Objects) -> None:
    objects.write("a", b"")
    end = time.monotonic() + 3
    while (objects.age_seconds("a") or 0) < 1:
        assert time.monotonic() < end
    objects.touch("a")
    age = objects.age_seconds("a")
    assert age is not None and age < 1


def test_more_names_than_a_page_has(objects: S3Objects, between: Relay) -> None:
    for number in range(3):
        objects.write(f"a/{number}", b"")
    objects._client().meta.events.register("provide-client-params.s3.ListObjectsV2", _two_a_page)
    assert objects.names("a") == ["0", "1", "2"]
    assert sum("list-type" in line for line in between.requests) == 2


def _two_a_page(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {**params, "MaxKeys": 2}


def test_a_folder_s_own_key_is_no_name(objects: S3Objects, s3: Swift) -> None:
    s3.client().put_object(Bucket=objects.bucket, Key="store/a/", Body=b"")
    objects.write("a/b", b"")
    assert objects.names("a") == ["b"]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 1])
def test_files_go_up_and_come_down_whole(objects: S3Objects, s3: Swift, tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "up").write_bytes(content[:size])
    objects.upload(tmp_path / "up", "large")
    assert objects.download("large", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == content[:size]
    parts = s3.client().head_object(Bucket=objects.bucket, Key="store/large")["ETag"].partition("-")[2]
    assert parts == ('3"' if size > PART_BYTES else "")
    assert not objects.download("nobody", tmp_path / "nobody")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "up"]


def create_all(index: int, barrier: Any, objects: S3Objects, folder: Path) -> None:
    won = []
    for number in range(CREATED):
        barrier.wait()
        if objects.create(f"a/{number:03d}", b"equal"):
            won.append(number)
    (folder / str(index)).write_text(" ".join(map(str, won)))


def test_of_many_writers_one_creates(objects: S3Objects, tmp_path: Path) -> None:
    run_together(create_all, WRITERS, objects, tmp_path)
    winners = [int(number) for path in tmp_path.iterdir() for number in path.read_text().split()]
    assert sorted(winners) == list(range(CREATED))


def test_what_was_created_is_ours_though_the_answer_was_lost(objects: S3Objects, between: Relay) -> None:
    between.answers_to_lose = 1
    assert objects.create("a", b"content")
    assert sum(line.startswith("PUT") for line in between.requests) >= 2
    assert not objects.create("a", b"content")


def test_equal_content_of_somebody_else_is_not_ours_though_an_answer_was_lost(
    objects: S3Objects, between: Relay
) -> None:
    objects.write("a", b"content")
    objects.create("b", b"content")
    for name in "ab":
        between.answers_to_lose = 1
        assert not objects.create(name, b"content")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda objects: objects.read("a"), {"GET": 1}),
        (lambda objects: objects.write("a", b""), {"PUT": 1}),
        (lambda objects: objects.create("new", b""), {"PUT": 1}),
        (lambda objects: objects.create("a", b""), {"HEAD": 1, "PUT": 1}),
        (lambda objects: objects.names("a"), {"GET": 1}),
        (lambda objects: objects.age_seconds("a"), {"HEAD": 1}),
        (lambda objects: objects.touch("a"), {"GET": 1, "PUT": 1}),
        (lambda objects: objects.download("a", Path("/dev/null")), {"GET": 1}),
    ],
)
def test_what_a_call_costs(
    objects: S3Objects, between: Relay, call: Callable[[S3Objects], object], expected: dict[str, int]
) -> None:
    objects.write("a", b"")
    between.counted()
    call(objects)
    assert between.counted() == expected


def test_objects_go_to_other_processes(objects: S3Objects) -> None:
    objects.write("a", b"content")
    other = pickle.loads(pickle.dumps(objects))
    assert other == objects and other.read("a") == b"content"


def _calls(objects: S3Objects, folder: Path) -> None:
    """Everything once; raises if anything is not what it should be."""
    (folder / "up").write_bytes(b"content" * 1000)
    for number in range(10):
        name = f"a/{number}"
        assert objects.create(name, b"first") and not objects.create(name, b"first")
        objects.write(name, b"second")
        assert objects.read(name) == b"second"
        objects.upload(folder / "up", "up")
        assert objects.download("up", folder / "down") and (folder / "down").read_bytes() == b"content" * 1000
        assert number < 5 or objects.names("a") == [str(each) for each in range(number + 1)]


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Swift]:
    """A server that the test may kill."""
    need(missing_for_swift())
    with swift() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_server_that_is_killed_and_started_again_is_waited_for(
    own_server: Swift, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    objects, failed = S3Objects(own_server.make_bucket("bucket"), ""), list[BaseException]()
    objects.write("before", b"")  # who had an answer believes no server that has just begun and misses the bucket

    def work() -> None:
        try:
            _calls(objects, tmp_path)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=work)
    thread.start()
    kills = 0
    while thread.is_alive() and kills < 3:
        thread.join(0.4)
        own_server.kill()
        time.sleep(0.5)  # a server that is away for a moment
        own_server.start()
        kills += 1
    thread.join()
    assert not failed and kills >= 2
    assert "waiting for it" in caplog.text


def test_a_server_that_stays_away_is_an_outage(own_server: Swift, tmp_path: Path) -> None:
    objects = S3Objects(own_server.make_bucket("bucket"), "store/", patience_seconds=1)
    own_server.kill()
    (tmp_path / "file").write_bytes(b"")
    large = tmp_path / "large"
    large.write_bytes(bytes(PART_BYTES + 1))
    for call in (
        lambda: objects.read("a"),
        lambda: objects.create("a", b""),
        lambda: objects.names("a"),
        lambda: objects.upload(large, "a"),
        lambda: objects.download("a", tmp_path / "down"),
    ):
        begin = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"^s3://bucket/store/a: .*: check address, cred") as raised:
            call()
        assert is_outage(raised.value) and time.monotonic() - begin < 10


def test_a_heart_does_not_wait(own_server: Swift) -> None:
    objects = S3Objects(own_server.make_bucket("bucket"), "")
    objects.write("a", b"")
    own_server.kill()
    begin = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        objects.touch("a")
    assert time.monotonic() - begin < 10


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "secret": ({"AWS_SECRET_ACCESS_KEY": "planted-secret"}, "SignatureDoesNotMatch"),
    "key": ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId|AccessDenied|SignatureDoesNotMatch"),
    "endpoint": ({"AWS_ENDPOINT_URL": "user:planted-secret@host"}, "AWS_ENDPOINT_URL: .*must be http"),
    "profile": ({"AWS_PROFILE": "nobody"}, "profile .*nobody.* could not be found"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_who_is_refused_hears_so_at_once(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG, "neuroiou_study")
    variables, expected = REFUSED[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    for call in (objects.read, objects.names, lambda name: objects.create(name, b"")):
        with pytest.raises(RuntimeError, match=expected) as raised:
            call("a")
        assert str(raised.value).rpartition(": ")[2].startswith(("check", "correct"))
        assert "planted-secret" not in str(raised.value) + caplog.text


def test_a_server_away_does_not_tell_the_password_in_its_url(
    monkeypatch: pytest.MonkeyPatch, s3: Swift, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:planted-secret@127.0.0.1:9")
    with pytest.raises(StoreUnavailableError) as raised:
        S3Objects("bucket", "", patience_seconds=0.5).read("a")
    assert "127.0.0.1:9" in str(raised.value)
    assert "planted-secret" not in str(raised.value) + caplog.text


def test_no_such_bucket_is_said_soon(s3: Swift) -> None:
    objects = S3Objects("no-such-bucket", "")
    for call in (objects.read, objects.names, lambda name: objects.create(name, b"")):
        with pytest.raises(RuntimeError, match=r"NoSuchBucket.*check address, credentials, region"):
            call("a")
