"""The blocks of an exported loss's README, run as they stand: a loop, Lightning, a Hugging Face Trainer, a compiler."""

from importlib.util import find_spec

import pytest

from tests.compatibility.conftest import Exported
from tests.servers.fixtures import need

DATA = """
import torch
torch.manual_seed(0)
model = torch.nn.Conv2d(3, 6, 3, padding=1)
batches = [(torch.randn(2, 3, 16, 24), torch.randint(0, 6, (2, 16, 24))) for _ in range(3)]
before = model.weight.detach().clone()
"""
MOVED = "\nassert not torch.equal(before, model.weight), 'nothing was learned'\nprint('learned')"


def needs(package: str) -> None:
    need(None if find_spec(package) else f"needs {package}: pip install -e '.[dev]'")


def test_in_a_loop_of_ones_own(exported: Exported) -> None:
    optimizer = "optimizer = torch.optim.SGD(model.parameters(), lr=1.0)\n"
    assert exported.run(DATA + optimizer + exported.block("optimizer.zero_grad") + MOVED) == "learned\n"


def test_in_lightning(exported: Exported) -> None:
    needs("lightning")
    fit = """
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet)
trainer.fit(Finetuning(model), torch.utils.data.DataLoader(batches, batch_size=None))
"""
    assert "learned" in exported.run(DATA + exported.block("LightningModule") + fit + MOVED)


def test_in_a_hugging_face_trainer(exported: Exported) -> None:
    needs("transformers")
    needs("accelerate")
    network = """
import tempfile
from types import SimpleNamespace
from transformers import TrainingArguments
from transformers.modeling_outputs import SemanticSegmenterOutput
class Quarter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = model
        self.config = SimpleNamespace(to_json_string=lambda: "{}")
    def forward(self, pixel_values, labels=None):
        return SemanticSegmenterOutput(logits=self.conv(pixel_values)[..., ::4, ::4])
conv, dataset = model, [
    {"pixel_values": image, "labels": label} for images, labels in batches for image, label in zip(images, labels)
]
model = Quarter()
arguments = TrainingArguments(
    tempfile.mkdtemp(), num_train_epochs=1, per_device_train_batch_size=2, report_to=[], save_strategy="no",
    use_cpu=True, disable_tqdm=True, learning_rate=1e-2,
)
"""
    program = DATA + network + exported.block("Trainer(model=") + "\nmodel = conv" + MOVED
    assert exported.run(program).endswith("learned\n")


@pytest.mark.parametrize("size", [(3, 10, 8), (2, 16, 24)])
def test_compiled_and_exported(exported: Exported, size: tuple[int, int, int]) -> None:
    given = """
logits = torch.randn(2, 6, 12, 16, requires_grad=True)
labels = torch.randint(0, 6, (2, 12, 16))
"""
    check = f"""
plain = neuroiou_loss.load()
other = torch.randn({size[0]}, 6, {size[1]}, {size[2]}, requires_grad=True)
truth = torch.randint(0, 6, {size})
gradients = []
for loss_fn in (plain, compiled, program.module()):
    other.grad = None
    value = loss_fn(other, truth)
    value.backward()
    gradients.append((value.detach(), other.grad))
for value, gradient in gradients[1:]:
    torch.testing.assert_close(value, gradients[0][0])
    torch.testing.assert_close(gradient, gradients[0][1], rtol=1e-4, atol=1e-9)
assert gradients[0][1].abs().sum() > 0
print("equal")
"""
    assert exported.run(DATA + given + exported.block("torch.compile") + check) == "equal\n"
