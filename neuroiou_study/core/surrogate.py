"""The surrogate: a small network from the statistics of a row to its IoU loss (paper eq. 3, 4), saved and loaded.

Usage::

    surrogate = Surrogate.load("exported/")
    surrogate(counts, sums, num_pixels)     # (M,) estimated IoU losses of M rows
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from neuroiou_study.core.features import Inputs
from neuroiou_study.core.settings_file import SEAL, read_settings, require_types, shortened, unsealed, write_settings

Activation = Literal["softplus", "relu", "tanh", "silu"]
FORMAT_VERSION = 2
WEIGHTS_FILE = "surrogate.safetensors"
CONFIG_FILE = "surrogate.json"

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": F.softplus,
    "relu": F.relu,
    "tanh": torch.tanh,
    "silu": F.silu,
}


@dataclass(frozen=True)
class SurrogateConfig:
    """The shape of a surrogate. Depth 4 and width 100 are the paper's (cited); softplus is ours (measured)."""

    inputs: Inputs = field(default_factory=Inputs)
    depth: int = 4
    width: int = 100
    activation: Activation = "softplus"
    monotone: bool = False

    def __post_init__(self) -> None:
        if self.depth < 1 or self.width < 1:
            raise ValueError(f"depth, width: {self.depth}, {self.width}: at least 1 each: raise them")
        if self.activation not in get_args(Activation):
            allowed = ", ".join(get_args(Activation))
            raise ValueError(f"activation: {self.activation!r}: one of {allowed}: choose one")
        if self.monotone and self.activation == "silu":
            raise ValueError("activation: 'silu': a monotone surrogate needs a monotone one: use softplus, relu, tanh")


class SurrogateNet(nn.Module):
    """A fully connected network ``(M, F)`` → ``(M,)`` on z-scored features, with a linear output (paper eq. 4).

    With ``signs`` ``(F,)`` it is monotone: non-decreasing in the features with sign 1 and non-increasing in those
    with -1, for every value of its weights; features with sign 0 are free. Half of its units then bend down,
    ``-S(-x)``: with units that all bend up, as softplus does, weights of one sign make a convex function, and the IoU
    loss is none (*measured*: R² .97 → .98).
    """

    mean: Tensor
    std: Tensor
    signs: Tensor | None

    def __init__(self, sizes: list[int], activation: Activation, signs: Tensor | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in itertools.pairwise(sizes))
        self.activation = _ACTIVATIONS[activation]
        self.register_buffer("mean", torch.zeros(sizes[0]))
        self.register_buffer("std", torch.ones(sizes[0]))
        self.register_buffer("signs", signs, persistent=False)
        if signs is None:
            self._start_flat()
        else:
            self._start_with_bounded_positive_weights()

    def standardise(self, features: Tensor) -> None:
        """Set the z-score to the mean and standard deviation of ``features`` ``(M, F)``; a constant feature keeps 1."""
        std = features.std(dim=0)
        self.mean.copy_(features.mean(dim=0))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        hidden = (features - self.mean) / self.std
        if self.signs is not None:
            hidden = torch.where(self.signs == 0, hidden, hidden * self.signs)
        first, *inner = [self._weight(number) for number in range(len(self.layers))]
        hidden = F.linear(hidden, first, self._bias(0))
        for number, weight in enumerate(inner, start=1):
            hidden = F.linear(self._activated(hidden), weight, self._bias(number))
        return hidden.squeeze(-1)

    def _activated(self, hidden: Tensor) -> Tensor:
        if self.signs is None:
            return self.activation(hidden)
        up, down = hidden.tensor_split(2, dim=-1)
        return torch.cat([self.activation(up), -self.activation(-down)], dim=-1)

    def _weight(self, number: int) -> Tensor:
        """The weights of a layer: free, or positive where the network is monotone."""
        layer = self._layer(number)
        if self.signs is None:
            return layer.weight
        return layer.weight.abs() if number else torch.where(self.signs == 0, layer.weight, layer.weight.abs())

    def _bias(self, number: int) -> Tensor:
        return self._layer(number).bias

    def _layer(self, number: int) -> nn.Linear:
        layer = self.layers[number]
        assert isinstance(layer, nn.Linear)
        return layer

    def _start_flat(self) -> None:
        # Where D says nothing about a direction, a random start would leave a random gradient in it.
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def _start_with_bounded_positive_weights(self) -> None:
        # Weights of one sign add up: the default start would grow by √fan_in / 2 in every layer.
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.uniform_(layer.weight, 0, 2 / layer.in_features)


class Surrogate(nn.Module):
    """A :class:`SurrogateNet` together with the inputs it was made for."""

    def __init__(self, config: SurrogateConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.inputs
        self.net = SurrogateNet(_sizes(config), config.activation, inputs.feature_signs if config.monotone else None)

    def features(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor | None = None) -> Tensor:
        """``(M, F)`` features of M rows in the network's dtype; see :meth:`Inputs.features`."""
        return self.config.inputs.features(counts, sums, num_pixels, class_index).to(self.net.mean.dtype)

    def forward(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor | None = None) -> Tensor:
        """``(M,)`` estimated IoU losses of M rows: ``counts``, ``sums`` ``(M, 3)``, valid pixels, class ``(M,)``."""
        estimate: Tensor = self.net(self.features(counts, sums, num_pixels, class_index))
        return estimate

    def save(self, folder: Path | str) -> None:
        """Write ``surrogate.safetensors`` and ``surrogate.json`` into ``folder``, which must exist."""
        folder = Path(folder)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS_FILE)
        document = {"format": FORMAT_VERSION, **asdict(self.config)}
        write_settings(folder / CONFIG_FILE, document, [folder / WEIGHTS_FILE])

    @classmethod
    def load(cls, folder: Path | str) -> "Surrogate":
        """The surrogate saved in ``folder``.

        Raises FileNotFoundError if a file is missing, and ValueError if the two do not fit each other or the weights
        are no surrogate's. Nothing in the files is run, and no more is allocated than they hold.
        """
        settings, path = Path(folder) / CONFIG_FILE, Path(folder) / WEIGHTS_FILE
        for each in (settings, path):
            if not each.is_file():
                raise FileNotFoundError(f"{each}: not there: must hold a part of a surrogate: export it again")
        config = _read_config(settings)
        try:
            surrogate = cls._with_weights(config, load_file(path))
            unsealed(read_settings(settings), [path])
            return surrogate
        except (*_DAMAGED, RuntimeError) as error:
            rule = f"must hold the weights that {CONFIG_FILE} describes"
            raise ValueError(f"{path}: {error}: {rule}: export the surrogate again") from error

    @classmethod
    def _with_weights(cls, config: SurrogateConfig, tensors: dict[str, Tensor]) -> "Surrogate":
        _require_weights(tensors, config)
        surrogate = cls(config)
        surrogate.load_state_dict(tensors)
        net = surrogate.net
        if not all(value.isfinite().all() for value in net.state_dict().values()) or (net.std <= 0).any():
            raise ValueError("a weight is NaN or infinite, or a standard deviation is not above 0")
        with torch.no_grad():
            if not net(net.mean.unsqueeze(0)).isfinite().all():
                raise ValueError("weights so great that the loss of average features is not finite")
        return surrogate


_DAMAGED = (SafetensorError, OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What safetensors raises for a file that is none. *Measured* with 20 000 garbled files: SafetensorError alone."""


def _read_config(path: Path) -> SurrogateConfig:
    try:
        document = read_settings(path)
        document.pop(SEAL, None)
        if document.pop("format") != FORMAT_VERSION:
            raise ValueError(f"format must be {FORMAT_VERSION}")
        inputs, example = document.pop("inputs"), SurrogateConfig()
        if not isinstance(inputs, dict):
            raise ValueError(f"inputs: {shortened(inputs)}: must be an object")
        require_types(inputs, example.inputs)
        require_types(document, example)
        return SurrogateConfig(inputs=Inputs(**inputs), **document)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path}: {error}: must hold a surrogate's configuration: export the surrogate again"
        ) from error


def _require_weights(tensors: dict[str, Tensor], config: SurrogateConfig) -> None:
    """Raise ValueError unless these are a surrogate's tensors, before one of that shape is made."""
    if len(tensors) != 2 * (config.depth + 2):
        raise ValueError(f"{len(tensors)} tensors, not the {2 * (config.depth + 2)} of depth {config.depth}")
    sizes = _sizes(config)
    expected: dict[str, tuple[int, ...]] = {"net.mean": (sizes[0],), "net.std": (sizes[0],)}
    for number, (n, m) in enumerate(itertools.pairwise(sizes)):
        expected |= {f"net.layers.{number}.weight": (m, n), f"net.layers.{number}.bias": (m,)}
    for name, shape in expected.items():
        if name not in tensors:
            raise ValueError(f"{name} is missing")
        if tuple(tensors[name].shape) != shape or not tensors[name].is_floating_point():
            found = f"{tensors[name].dtype} {tuple(tensors[name].shape)}"
            raise ValueError(f"{name} is {found}, not floating point of {shape}")


def _sizes(config: SurrogateConfig) -> list[int]:
    """Inputs and outputs of the layers, one after the other."""
    return [config.inputs.num_features, *[config.width] * config.depth, 1]


def num_parameters(config: SurrogateConfig) -> int:
    """How many numbers a surrogate of this shape learns."""
    return sum(math.prod(pair) + pair[1] for pair in itertools.pairwise(_sizes(config)))
