"""Some hundred malformed files, each through the real door that reads its kind.

Each ends in an error of ours that names it, or is handled with the right result: never in another exception, a hang,
or a result that differs.
"""

import shutil
import warnings
from pathlib import Path
from random import Random

import pytest

from neuroiou_study.spec import SpecError
from tests.faults.malformed import DAMAGES, Damage
from tests.faults.malformed_doors import DOORS, LISTED, Door

OURS = (ValueError, SpecError, FileNotFoundError, RuntimeError)
EACH = {"study": 6, "png": 4, "names": 4}
"""How often a door meets each damage, 2 unless it stands here."""
CASES = [(door, damage, n) for door in DOORS for damage in DAMAGES for n in range(EACH.get(door.name, 2))]

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with sound files for each door."""
    folders = {door.name: tmp_path_factory.mktemp("sound") / "files" for door in DOORS}
    for door in DOORS:
        folders[door.name].mkdir()
        door.make(folders[door.name])
    return folders


@pytest.fixture
def files(tmp_path: Path, sound: dict[str, Path], request: pytest.FixtureRequest) -> Path:
    """A copy of the sound files for the door of a case."""
    return Path(shutil.copytree(sound[request.getfixturevalue("door").name], tmp_path / "files"))


def enter(door: Door, files: Path) -> str:
    """What is said about the files in ``files``; empty if they are read, with the right result."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of PIL, about what it refuses
            door.enter(files)
    except OURS as error:
        assert type(error) in OURS, f"{type(error).__name__}, not one of ours: {error}"
        assert str(files) in str(error), f"does not say which file: {error}"
        assert len(str(error)) < 10_000
        return str(error)
    return ""


def target(door: Door, files: Path) -> Path:
    """The one file of a door that is damaged."""
    (path,) = files.glob(door.target)
    return path


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_sound_files_are_read(door: Door, files: Path) -> None:
    assert enter(door, files) == ""


@pytest.mark.parametrize(
    ("door", "damage", "number"), CASES, ids=[f"{door.name}-{damage.__name__}-{n}" for door, damage, n in CASES]
)
def test_a_damaged_file_is_named_or_handled(door: Door, damage: Damage, number: int, files: Path) -> None:
    path = target(door, files)
    path.write_bytes(damage(path.read_bytes(), Random(f"{door.name} {damage.__name__} {number}")))
    enter(door, files)


@pytest.mark.parametrize("other", [door for door in DOORS if "/" not in door.target], ids=lambda door: door.name)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_another_file_in_its_place_is_named_or_handled(
    door: Door, other: Door, files: Path, sound: dict[str, Path]
) -> None:
    target(door, files).write_bytes(target(other, sound[other.name]).read_bytes())
    enter(door, files)


@pytest.mark.parametrize("door", [door for door in DOORS if door.target in LISTED], ids=lambda door: door.name)
@pytest.mark.parametrize("number", range(5))
def test_no_flipped_bit_of_a_file_that_a_manifest_lists_goes_unnoticed(door: Door, number: int, files: Path) -> None:
    path = target(door, files)
    content = bytearray(path.read_bytes())
    content[Random(number).randrange(len(content))] ^= 1
    path.write_bytes(content)
    assert f"{path}: damaged: SHA-256 differs" in enter(door, files)
