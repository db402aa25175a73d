"""What is said about a wrong variant or confirmation in a file: where: value: rule: remedy."""

import pytest

from neuroiou_study.spec import SpecError, load_study
from tests.spec.conftest import WriteStudy

CHANGE = "change it (`neuroiou-study schema` describes it)"


def mistake(write_study: WriteStudy, text: str) -> str:
    path = write_study("", f"{text}\n")
    with pytest.raises(SpecError) as raised:
        load_study(path)
    return str(raised.value).removeprefix(f"{path}: ")


def test_right_variants_and_a_confirmation_are_loaded(write_study: WriteStudy) -> None:
    study = load_study(
        write_study("", "variants: {no_int: {finetune.start: random, finetune.lr: 1e-3}}\nconfirm: {}\n")
    )
    assert study.variants == {"no_int": {"finetune.start": "random", "finetune.lr": 0.001}}
    assert study.confirm is not None and study.fresh_seeds == (1, 2, 3)


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("{a: {finetune.strat: random}}", "variants.a.finetune.strat: unknown key: did you mean finetune.start?"),
        ("{a: {fintune.start: random}}", "variants.a.fintune.start: unknown key: did you mean finetune.start?"),
        (
            "{a: {finetune.optimizer.momentum: 0.5}}",
            "variants.a.finetune.optimizer.momentum: unknown key: it belongs to another finetune.optimizer.name: "
            "remove it",
        ),
        ("{a: {fit_surrogate.depth: 0}}", "variants.a.fit_surrogate.depth: 0: input should be greater than or equal"),
        ("{a: {finetune.start: vgg}}", "variants.a.finetune.start: 'vgg': input should be 'pretrained' or 'random'"),
        ("{a: {}}", "variants.a: {}: must fix a field"),
        ("{ce: {finetune.start: random}}", "variants: 'ce': is a control too"),
        ("{a: {seed: 1}}", "variants.a.seed: 1: is the same for all arms of a study: remove it"),
        ("{a: random}", "variants.a: 'random': must be a mapping of keys"),
    ],
)
def test_a_wrong_variant_is_named_with_its_remedy(write_study: WriteStudy, variants: str, message: str) -> None:
    said = mistake(write_study, f"variants: {variants}")
    assert said.startswith(message)
    assert "\n" not in said


def test_a_variant_that_no_range_goes_with_is_named(write_study: WriteStudy) -> None:
    text = STUDY_WITH_ACTIVATIONS.format(variant="{monotone: {fit_surrogate.monotone: true}}")
    path = write_study()
    path.write_text(text)
    with pytest.raises(SpecError, match="a monotone surrogate needs a monotone activation"):
        load_study(path)


STUDY_WITH_ACTIVATIONS = """\
name: small
data: {{name: shapes}}
search:
  fit_surrogate.activation: {{choice: [tanh, silu]}}
variants: {variant}
"""


@pytest.mark.parametrize(
    ("confirm", "message"),
    [
        ("{seeds: 0}", f"confirm.seeds: 0: input should be greater than or equal to 1: {CHANGE}"),
        ("{seed: 3}", "confirm.seed: unknown key: did you mean confirm.seeds?"),
        ("3", f"confirm: 3: must be a mapping of keys: {CHANGE}"),
    ],
)
def test_a_wrong_confirmation_is_named_with_its_remedy(write_study: WriteStudy, confirm: str, message: str) -> None:
    assert mistake(write_study, f"confirm: {confirm}") == message
