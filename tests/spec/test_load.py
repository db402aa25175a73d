from pathlib import Path

import pytest

from neuroiou_study.spec import ChoiceRange, FloatRange, SpecError, load_study
from neuroiou_study.spec.data import CamvidSpec
from tests.spec.conftest import STUDY, WriteStudy

CHANGE = "change it (`neuroiou-study schema` describes it)"
ADD = "this key is required: add it (`neuroiou-study schema` describes it)"
REMOVE = "unknown key: remove it (`neuroiou-study schema` lists the keys)"
RANGE = "must be {int: [low, high]}, {float: [low, high]} or {choice: [a, b]}"

DEPTH, LR, DATA, CE = "{int: [1, 6]}", "{float: [1e-4, 1e-2], log: true}", "{name: shapes}", "{name: cross_entropy}"


def mistake(path: Path, *overrides: str) -> str:
    """What is said about a wrong file, without the path that every line begins with."""
    with pytest.raises(SpecError) as raised:
        load_study(path, overrides)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return "\n".join(line.removeprefix(f"{path}: ") for line in lines)


def test_a_right_file_is_loaded_with_its_numbers(write_study: WriteStudy) -> None:
    study = load_study(write_study())
    assert (study.name, study.pretrain.lr, study.pretrain.epochs) == ("small", 0.003, 3)
    assert study.search["finetune.lr"] == FloatRange(float=(0.0001, 0.01), log=True)
    assert list(study.search) == ["fit_surrogate.depth", "finetune.lr"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 2", "epoch: 2", "finetune.epoch: unknown key: did you mean finetune.epochs?"),
        ("epochs: 2", "patience: 2", f"finetune.patience: {REMOVE}"),
        ("finetune: ", "fintune: ", "fintune: unknown key: did you mean finetune?"),
        (
            CE,
            "{name: soft_iou, agregate: batch}",
            "controls.ce.agregate: unknown key: did you mean controls.ce.aggregate?",
        ),
        (
            DATA,
            "{name: shapes, root: data}",
            "data.root: unknown key: it belongs to another data.name: remove it",
        ),
        (
            DEPTH,
            "{int: [1, 6], lg: true}",
            "search.fit_surrogate.depth.lg: unknown key: did you mean search.fit_surrogate.depth.log?",
        ),
    ],
)
def test_a_misspelt_key_is_named_with_what_was_meant(write_study: WriteStudy, old: str, new: str, message: str) -> None:
    assert mistake(write_study(old, new)) == message


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("finetune.lrr", "unknown key: did you mean finetune.lr?"),
        ("fintune.lr", "unknown key: did you mean finetune.lr?"),
        ("finetune.optimiser.momentum", "unknown key: did you mean finetune.optimizer.momentum?"),
        ("finetune.optimizer.momentum", "unknown key: it belongs to another finetune.optimizer.name: remove it"),
        ("finetune.lr.x", REMOVE),
        ("dropout", REMOVE),
    ],
)
def test_a_misspelt_search_key_is_named_with_what_was_meant(write_study: WriteStudy, name: str, remedy: str) -> None:
    assert mistake(write_study("finetune.lr", name)) == f"search.{name}: {remedy}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            DATA,
            "{name: shapes, num_train: 4}",
            f"data.num_train: 4: input should be greater than or equal to 8: {CHANGE}",
        ),
        (DATA, "{name: shapes, num_train: '96'}", f"data.num_train: '96': input should be a valid integer: {CHANGE}"),
        (DATA, "{name: shapes, num_train: 9.0}", f"data.num_train: 9.0: input should be a valid integer: {CHANGE}"),
        (DATA, "{name: shapes, num_train: true}", f"data.num_train: True: input should be a valid integer: {CHANGE}"),
        (
            DATA,
            "{name: shapes, size: [48, 4]}",
            f"data.size.1: 4: input should be greater than or equal to 8: {CHANGE}",
        ),
        (DATA, "shapes", f"data: 'shapes': must be a mapping of keys: {CHANGE}"),
        (DATA, "", f"data: None: must be a mapping of keys: {CHANGE}"),
        ("lr: 3e-3", "lr: .inf", f"pretrain.lr: inf: input should be a finite number: {CHANGE}"),
        ("lr: 3e-3", "lr: .nan", f"pretrain.lr: nan: input should be a finite number: {CHANGE}"),
        ("lr: 3e-3", "lr: 11", f"pretrain.lr: 11: input should be less than or equal to 10: {CHANGE}"),
        ("small", "a b", f"name: 'a b': string should match pattern '^[a-z0-9][a-z0-9_]*$': {CHANGE}"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(write_study: WriteStudy, old: str, new: str, message: str) -> None:
    assert mistake(write_study(old, new)) == message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: small", "", f"name: missing: {ADD}"),
        (f"data: {DATA}", "", f"data: missing: {ADD}"),
        (DATA, "{name: camvid}", f"data.root: missing: {ADD}"),
        (DATA, "{num_train: 8}", f"data.name: missing: {ADD}"),
        (CE, "{aggregate: image}", f"controls.ce.name: missing: {ADD}"),
        (
            DATA,
            "{name: shapez}",
            "data.name: 'shapez': must be one of 'shapes', 'camvid', 'voc', 'cityscapes', 'folder': choose one",
        ),
    ],
)
def test_what_is_missing_or_of_no_known_kind_is_named(
    write_study: WriteStudy, old: str, new: str, message: str
) -> None:
    assert mistake(write_study(old, new)) == message


def test_every_mistake_of_a_file_has_a_line(write_study: WriteStudy) -> None:
    assert mistake(write_study("epochs: 3, lr: 3e-3", "epochs: 0, lr: 11")).splitlines() == [
        f"pretrain.epochs: 0: input should be greater than or equal to 1: {CHANGE}",
        f"pretrain.lr: 11: input should be less than or equal to 10: {CHANGE}",
    ]


@pytest.mark.parametrize(
    ("key", "bounds", "message"),
    [
        (DEPTH, "{int: [0, 6]}", "fit_surrogate.depth: 0: input should be greater than or equal to 1"),
        (DEPTH, "{int: [1, 17]}", "fit_surrogate.depth: 17: input should be less than or equal to 16"),
        (DEPTH, "{float: [1, 6]}", "fit_surrogate.depth: 1.0: input should be a valid integer"),
        (LR, "{float: [1e-4, 11]}", "finetune.lr: 11.0: input should be less than or equal to 10"),
        (LR, "{choice: [1e-3, 1e-2, 0]}", "finetune.lr: 0: input should be greater than 0"),
        (LR, "{choice: [1e-3, '1e-2']}", "finetune.lr: '1e-2': input should be a valid number"),
        (LR, "{flat: [1e-3, 1e-2]}", f"finetune.lr: {{'flat': [0.001, 0.01]}}: {RANGE}"),
        (LR, "[1e-3, 1e-2]", f"finetune.lr: [0.001, 0.01]: {RANGE}"),
        (LR, "1e-3", f"finetune.lr: 0.001: {RANGE}"),
    ],
)
def test_every_end_and_choice_of_a_range_is_checked(
    write_study: WriteStudy, key: str, bounds: str, message: str
) -> None:
    assert mistake(write_study(key, bounds)) == f"search.{message}: {CHANGE}"


def test_numbers_between_the_ends_are_checked(write_study: WriteStudy) -> None:
    path = write_study("fit_surrogate.depth: {int: [1, 6]}", "model.width: {int: [8, 16]}")
    assert mistake(path) == f"search.model.width: 9: input should be a multiple of 4: {CHANGE}"


def test_two_ranges_that_do_not_go_together_are_named(write_study: WriteStudy) -> None:
    new = "fit_surrogate.monotone: {choice: [false, true]}\n  fit_surrogate.activation: {choice: [tanh, silu]}"
    assert mistake(write_study("fit_surrogate.depth: {int: [1, 6]}", new)) == (
        "search.fit_surrogate.monotone: True with fit_surrogate.activation: 'silu': a monotone surrogate needs a "
        "monotone activation: use softplus, relu or tanh"
    )


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "1.e-4", ".1e-3", "+1e-4", "0.1e-3"])
def test_a_number_with_an_exponent_is_a_number_anywhere(write_study: WriteStudy, number: str) -> None:
    study = load_study(write_study("3e-3", number))
    assert study.pretrain.lr == 0.0001
    study = load_study(write_study(LR, f"{{choice: [{number}, 1e-3]}}"))
    assert study.search["finetune.lr"] == ChoiceRange(choice=(0.0001, 0.001))
    study = load_study(write_study(LR, f"{{float: [{number}, 1e+1]}}"))
    assert study.search["finetune.lr"] == FloatRange(float=(0.0001, 10.0))


def test_a_quoted_number_is_not_a_number(write_study: WriteStudy) -> None:
    assert mistake(write_study("3e-3", "'3e-3'")) == f"pretrain.lr: '3e-3': input should be a valid number: {CHANGE}"
    assert mistake(write_study(DEPTH, "{int: [1, '6']}")) == (
        f"search.fit_surrogate.depth.int.1: '6': input should be a valid integer: {CHANGE}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STUDY + "name: other\n", "key name stands twice"),
        (STUDY + "budget: {max_trials: 2, max_trials: 3}\n", "key max_trials stands twice"),
        (STUDY + "budget: [1\n", "expected ',' or ']'"),
        ("name: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("name: !!python/name:os.system", "could not determine a constructor"),
        ("name: !!map [1]", "expected a mapping node"),
        ("name: 2024-13-01", "month must be in 1..12"),
    ],
)
def test_what_is_not_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    said = mistake(path)
    assert message in said and said.endswith(": must be YAML in UTF-8: correct that place")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes("# Θ\n".encode("utf-16") + STUDY.encode())
    assert mistake(path).endswith(": must be YAML in UTF-8: correct that place")


def test_letters_of_all_languages_are_read(write_study: WriteStudy) -> None:
    study = load_study(write_study(DATA, "{name: camvid, root: Straße/Θ}"))
    assert study.data == CamvidSpec(name="camvid", root="Straße/Θ")


@pytest.mark.parametrize(("text", "kind"), [("", "NoneType"), ("- 1", "list"), ("study", "str")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, kind: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert mistake(path) == f"{kind}: must be a mapping of keys: see `neuroiou-study schema`"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    said = mistake(tmp_path / "absent.yaml")
    assert said == "No such file or directory: must be a readable file: check the path"


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("finetune.lr=1e-4", ("finetune", "lr"), 0.0001),
        ("budget.max_trials=3", ("budget", "max_trials"), 3),
        ("finetune.optimizer={name: sgd, momentum: 0.5}", ("finetune", "optimizer", "momentum"), 0.5),
        ("seeds=[1, 2]", ("seeds",), (1, 2)),
        ("name=other", ("name",), "other"),
    ],
)
def test_an_override_sets_a_field_however_deep(
    write_study: WriteStudy, override: str, field: tuple[str, ...], value: object
) -> None:
    found: object = load_study(write_study(), [override])
    for name in field:
        found = getattr(found, name)
    assert found == value


def test_an_override_creates_the_parents_of_its_field(write_study: WriteStudy) -> None:
    study = load_study(write_study(), ["pretrain.optimizer.name=sgd", "pretrain.optimizer.momentum=0.5"])
    assert study.pretrain.optimizer.model_dump() == {"name": "sgd", "momentum": 0.5, "weight_decay": 5e-4}
    assert mistake(write_study(), "pretrain.optimizer.momentum=0.5") == f"pretrain.optimizer.name: missing: {ADD}"


def test_overrides_are_applied_in_order_over_an_empty_section(write_study: WriteStudy) -> None:
    path = write_study("finetune: {epochs: 2}", "finetune:")
    assert load_study(path, ["finetune.epochs=4", "finetune.epochs=5"]).finetune.epochs == 5


def test_an_override_changes_and_adds_ranges(write_study: WriteStudy) -> None:
    study = load_study(
        write_study(), ["search.finetune.lr={choice: [1e-3, 2e-3]}", "search.model.levels={choice: [1, 2]}"]
    )
    assert study.search["finetune.lr"] == ChoiceRange(choice=(0.001, 0.002))
    assert study.search["model.levels"] == ChoiceRange(choice=(1, 2))
    assert set(study.search) == {"fit_surrogate.depth", "finetune.lr", "model.levels"}


def test_an_override_of_an_unknown_key_is_refused_as_in_the_file(write_study: WriteStudy) -> None:
    said = mistake(write_study(), "budget.trials=3")
    assert said == "budget.trials: unknown key: did you mean budget.max_trials?"
    assert mistake(write_study(), "search.finetune.lrr={int: [1, 2]}").startswith("search.finetune.lrr: unknown key")


@pytest.mark.parametrize("override", ["finetune.lr", "=3", ""])
def test_an_override_without_key_or_value_is_refused(write_study: WriteStudy, override: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_study(write_study(), [override])
    assert str(raised.value) == f"--set {override}: must be key=value: write for example finetune.lr=1e-3"


@pytest.mark.parametrize("override", ["name.first=1", "seeds=[1", "seeds=!!python/name:os.system", "name=2024-13-01"])
def test_an_override_that_has_no_place_or_no_value_is_refused(write_study: WriteStudy, override: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_study(write_study(), [override])
    assert str(raised.value) == f"--set {override}: must name a field and give it a YAML value: correct it"
