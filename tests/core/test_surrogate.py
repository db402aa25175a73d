import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from neuroiou_study.core.features import Inputs, InputSet
from neuroiou_study.core.surrogate import Activation, Surrogate, SurrogateConfig, num_parameters
from tests.core.examples import rows, surrogate
from tests.core.planted import planted

ACTIVATIONS: tuple[Activation, ...] = ("softplus", "relu", "tanh", "silu")
WRITTEN_OUT: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": lambda h: (1 + h.exp()).log(),
    "relu": lambda h: h.clamp(min=0),
    "tanh": lambda h: (h.exp() - (-h).exp()) / (h.exp() + (-h).exp()),
    "silu": lambda h: h / (1 + (-h).exp()),
}
CONFIG_FILE, WEIGHTS_FILE = "surrogate.json", "surrogate.safetensors"


def _weights(made: Surrogate) -> list[tuple[Tensor, Tensor]]:
    state = made.net.state_dict()
    return [(state[f"layers.{i}.weight"], state[f"layers.{i}.bias"]) for i in range(made.config.depth + 1)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_hidden_layer_is_paper_eq_4(activation: Activation) -> None:
    made, data = surrogate(activation=activation), rows(2)
    (w_hidden, b_hidden), (w_out, b_out) = _weights(made)
    s = WRITTEN_OUT[activation]
    for m in range(len(data)):
        x = (data.sums[m] / data.counts[m].sum() - made.net.mean) / made.net.std
        hidden = [s(x @ w_hidden[j] + b_hidden[j]) for j in range(len(w_hidden))]
        expected = b_out[0] + torch.stack([w_out[0, j] * hidden[j] for j in range(len(w_hidden))]).sum()
        torch.testing.assert_close(made(*data.statistics)[m], expected)


def test_the_default_has_the_papers_shape() -> None:
    config = SurrogateConfig()
    assert (config.depth, config.width, config.inputs.num_features) == (4, 100, 3)
    assert num_parameters(config) == sum(p.numel() for p in Surrogate(config).parameters()) == 30_801


def test_class_and_context_widen_the_first_layer() -> None:
    wide = SurrogateConfig(Inputs("prob6", class_one_hot=11, context=True))
    assert num_parameters(wide) == sum(p.numel() for p in Surrogate(wide).parameters()) == 30_801 + 100 * 17


def test_the_class_is_told_apart() -> None:
    made, data = surrogate(Inputs(class_one_hot=3)), rows(1)
    values = [made(*data.statistics[:3], torch.full((3,), c)) for c in range(3)]
    assert len(torch.stack(values).detach()[:, 0].unique()) == 3


def test_standardise_makes_the_features_zero_mean_and_unit_variance() -> None:
    made = Surrogate(SurrogateConfig())
    features = torch.rand(50, 3) * torch.tensor([3.0, 0.1, 0.0])
    made.net.standardise(features)
    scored = (features - made.net.mean) / made.net.std
    torch.testing.assert_close(scored.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(scored.std(0), torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=1e-5)


def test_an_unfitted_surrogate_is_flat() -> None:
    made = Surrogate(SurrogateConfig())
    assert float(made(*rows().statistics).detach().abs().max()) == 0


def _gradients(made: Surrogate, seed: int) -> Tensor:
    data = rows(30, seed=seed)
    sums = data.sums.requires_grad_(True)
    (gradient,) = torch.autograd.grad(made(data.counts, sums, data.num_pixels, data.class_index).sum(), sums)
    return gradient


@pytest.mark.parametrize("activation", ["softplus", "relu", "tanh"])
@pytest.mark.parametrize("name", ["prob3", "prob6", "hinge3"])
@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize(("class_one_hot", "context"), [(0, False), (3, False), (3, True)])
def test_a_monotone_surrogate_has_right_signs_with_any_weights(
    activation: Activation, name: InputSet, depth: int, class_one_hot: int, context: bool
) -> None:
    inputs = Inputs(name, means_gradient="full", class_one_hot=class_one_hot, context=context)
    for seed in range(5):
        made = surrogate(inputs, depth=depth, activation=activation, monotone=True, seed=seed)
        directed = _gradients(made, seed) * torch.tensor(inputs.right_signs)
        assert float(directed.min()) >= 0
        assert float(directed.max()) > 0


@pytest.mark.parametrize("depth", [1, 4])
def test_a_monotone_surrogate_is_free_in_context_and_class(depth: int) -> None:
    inputs = Inputs(class_one_hot=3, context=True)
    data = rows(30)
    rising = []
    for seed in range(8):
        made = surrogate(inputs, depth=depth, monotone=True, seed=seed)
        features = made.features(*data.statistics).detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(made.net(features).sum(), features)
        rising.append(gradient.mean(0) > 0)
    always, never = torch.stack(rising).all(0), ~torch.stack(rising).any(0)
    assert always.tolist() == [False, True, True, *[False] * 6]
    assert never.tolist() == [True, *[False] * 8]


def test_a_surrogate_that_is_not_monotone_has_wrong_signs_with_some_weights() -> None:
    directed = [_gradients(surrogate(seed=seed), seed) * torch.tensor([-1, 1, 1]) for seed in range(5)]
    assert any(float(each.min()) < 0 for each in directed)


def test_a_monotone_surrogate_can_bend_both_ways() -> None:
    # Softplus alone, with weights of one sign, could bend up only.
    made = surrogate(Inputs(scale="raw"), width=8, monotone=True)
    steps = torch.linspace(-6, 6, 13, dtype=torch.float64)
    sums = torch.stack([-steps, steps, steps], dim=-1)
    values = made(torch.ones(13, 3), sums, torch.ones(13)).detach()
    bends = values[2:] - 2 * values[1:-1] + values[:-2]
    assert float(bends.min()) < 0 < float(bends.max())


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize(
    "inputs",
    [
        Inputs("prob6", "predicted", "log", "full"),
        Inputs("hinge3", hinge="one_vs_rest", class_one_hot=3),
        Inputs(class_one_hot=5, context=True),
    ],
)
def test_what_is_loaded_equals_what_was_saved_exactly(tmp_path: Path, inputs: Inputs, monotone: bool) -> None:
    saved = surrogate(inputs, depth=2, monotone=monotone).float()
    saved.save(tmp_path)
    loaded = Surrogate.load(tmp_path)
    assert loaded.config == saved.config
    assert torch.equal(loaded(*rows().statistics), saved(*rows().statistics))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    surrogate().save(tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=WEIGHTS_FILE):
        Surrogate.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=CONFIG_FILE):
        Surrogate.load(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 99}, "format must be 2"),
        ({"format": 1}, "format must be 2"),
        ({"inputs": {"class_one_hot": 3}}, r"net\.mean is torch\.float64 \(3,\), not floating point of \(6,\)"),
        ({"inputs": {"hinge": "squared"}}, "hinge: 'squared'"),
        ({"width": 7}, r"net\.layers\.0\.weight is torch\.float64 \(6, 3\), not floating point of \(7, 3\)"),
        ({"width": 10**12}, "not floating point of"),
        ({"width": 6.0}, r"width: 6\.0: must be of type int"),
        ({"width": True}, "width: True: must be of type int"),
        ({"depth": 10**12}, r"\d tensors, not the 2000000000004 of depth 1000000000000"),
        ({"depth": "2"}, "depth: '2': must be of type int"),
        ({"depth": -1}, "depth, width: -1"),
        ({"monotone": "no"}, "monotone: 'no': must be of type bool"),
        ({"activation": ["tanh"]}, r"activation: \['tanh'\]: must be of type str"),
        ({"inputs": [1]}, r"inputs: \[1\]: must be an object"),
        ({"inputs": {"class_one_hot": 10**30}}, "not floating point of"),
        ({"inputs": {"num_features": 3}}, "num_features"),
        ({"inputs": {"name": "p" * 1000}}, "name: 'p"),
        ({"hight": 7}, "hight"),
        ({"activation": "selu"}, "activation: 'selu'"),
        ({"inputs": {"name": "prob4"}}, "name: 'prob4'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_explained(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    surrogate().save(tmp_path)
    path = tmp_path / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=f"(?s){tmp_path}.*{complaint}.*: export the surrogate again"):
        Surrogate.load(tmp_path)


@pytest.mark.parametrize("content", ["", "no json", "[1]", "{}", "[" * 100_000, '{"format": 2}', "1" * 5000])
def test_a_damaged_configuration_is_named(tmp_path: Path, content: str) -> None:
    surrogate().save(tmp_path)
    (tmp_path / CONFIG_FILE).write_text(content)
    with pytest.raises(ValueError, match=f"{tmp_path / CONFIG_FILE}: .*: export the surrogate again"):
        Surrogate.load(tmp_path)


def test_truncated_weights_are_named(tmp_path: Path) -> None:
    surrogate().save(tmp_path)
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{path}: .*: export the surrogate again"):
        Surrogate.load(tmp_path)


def _infinite(tensor: torch.Tensor) -> torch.Tensor:
    return torch.full_like(tensor, float("inf"))


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("net.layers.0.weight", lambda tensor: tensor * float("nan"), "a weight is NaN or infinite"),
        ("net.layers.1.bias", _infinite, "a weight is NaN or infinite"),
        ("net.mean", lambda tensor: tensor + 1e300, "a weight is NaN or infinite"),  # in float32
        ("net.std", torch.zeros_like, "a weight is NaN or infinite, or a standard deviation is not above 0"),
        ("net.std", torch.neg, "a weight is NaN or infinite, or a standard deviation is not above 0"),
        ("net.layers.1.weight", lambda tensor: torch.full_like(tensor, 3e38), "weights so great that the loss"),
        ("net.mean", lambda tensor: tensor.long(), r"net\.mean is torch\.int64"),
        ("net.mean", lambda tensor: tensor[:1], r"net\.mean is torch\.float64 \(1,\)"),
    ],
)
def test_weights_that_are_no_loss_are_refused(
    tmp_path: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor], complaint: str
) -> None:
    surrogate().save(tmp_path)
    path = tmp_path / WEIGHTS_FILE
    tensors = load_file(path)
    save_file({**tensors, name: change(tensors[name]).contiguous()}, path)
    with pytest.raises(ValueError, match=f"^{path}: {complaint}.*: export the surrogate again"):
        Surrogate.load(tmp_path)


def test_tensors_of_other_names_are_refused(tmp_path: Path) -> None:
    surrogate().save(tmp_path)
    path = tmp_path / WEIGHTS_FILE
    tensors = load_file(path)
    tensors["net.men"] = tensors.pop("net.mean")
    save_file(tensors, path)
    with pytest.raises(ValueError, match=f"^{path}: net.mean is missing: .*: export the surrogate again"):
        Surrogate.load(tmp_path)


def test_a_pickle_named_as_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    surrogate().save(tmp_path)
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(planted(tmp_path / "ran"))
    with pytest.raises(ValueError, match=f"^{path}: .*: export the surrogate again"):
        Surrogate.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="depth, width: 0, 100: at least 1 each"):
        SurrogateConfig(depth=0)
    with pytest.raises(ValueError, match="activation: 'silu': a monotone surrogate needs a monotone one"):
        SurrogateConfig(activation="silu", monotone=True)
    with pytest.raises(ValueError, match="activation: 'gelu': one of softplus, relu, tanh, silu"):
        SurrogateConfig(activation="gelu")  # type: ignore[arg-type]
