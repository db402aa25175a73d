"""Weights from a real S3 server; ``test_build_model.py`` has the rest."""

from pathlib import Path

import pytest

from neuroiou_study.stages.s3_objects import PART_BYTES, S3Objects
from neuroiou_study.stages.weights import weights_file
from tests.servers.swift import Swift


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("size", [7, PART_BYTES + 1])
def test_weights_come_from_a_bucket(bucket: str, size: int) -> None:
    S3Objects(bucket, "nets/").write("vgg.pth", b"w" * size)
    assert weights_file(f"s3://{bucket}/nets/vgg.pth").read_bytes() == b"w" * size


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_SECRET_ACCESS_KEY", "planted-secret"), ("AWS_ENDPOINT_URL", "http://user:planted-secret@127.0.0.1:9")],
)
def test_a_secret_is_in_no_error(
    s3: Swift, bucket: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        RuntimeError, match=rf"^model\.weights: s3://{bucket}/vgg\.pth: .*: check the address, and"
    ) as e:
        weights_file(f"s3://{bucket}/vgg.pth")
    assert "planted-secret" not in str(e.value)
