from pathlib import Path

import pytest

from neuroiou_study.stages.local_folder import local_folder


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/own", "/shared", "/own/images"),
        ("~/own", None, "/home/me/own/images"),
        ("", "/shared", "/shared/neuroiou-study/images"),
        (None, "~/shared", "/home/me/shared/neuroiou-study/images"),
        (None, "", "/home/me/.cache/neuroiou-study/images"),
    ],
)
def test_the_folder_is_where_the_environment_says(
    own: str | None, shared: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in (("NEUROIOU_CACHE", own), ("XDG_CACHE_HOME", shared)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert local_folder("images") == Path(expected)
