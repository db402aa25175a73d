import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from neuroiou_study.core.models.fcn import FCN
from neuroiou_study.core.models.segnet import SegNet
from neuroiou_study.core.models.unet import UNet
from neuroiou_study.spec.model import ModelSpec
from neuroiou_study.stages.build.model import ALLOW_CODE, model
from neuroiou_study.stages.weights import weights_file
from tests.core.models.vgg_file import vgg16_tensors

CUSTOM = """
import torch

class Pointwise(torch.nn.Conv2d):
    def __init__(self, num_classes, scale=1.0):
        super().__init__(3, num_classes, 1)
        self.scale = scale

def no_network(num_classes):
    return "no network"

number = 3
"""


def _spec(**document: object) -> Any:
    return TypeAdapter(ModelSpec).validate_python(document)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"name": "unet", "width": 4}, UNet),
        ({"name": "fcn32s", "width": 1}, FCN),
        ({"name": "fcn16s", "width": 1}, FCN),
        ({"name": "fcn8s", "width": 1}, FCN),
        ({"name": "segnet", "width": 1}, SegNet),
    ],
)
def test_a_spec_becomes_its_network(document: dict[str, object], kind: type[nn.Module]) -> None:
    network = model(_spec(**document), 4, 0)
    assert isinstance(network, kind)
    assert network.eval()(torch.rand(1, 3, 33, 40)).shape == (1, 4, 33, 40)


def test_an_fcn_has_the_stride_and_the_width_of_its_name() -> None:
    for name, stride in {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}.items():
        network = model(_spec(name=name, width=3), 4, 0)
        assert isinstance(network, FCN) and network.upscore.factor == stride
        assert network.score.in_channels == 3 * 64


@pytest.mark.parametrize("name", ["unet", "fcn8s", "segnet"])
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    spec = _spec(name=name, width=4)
    torch.manual_seed(1)
    one = model(spec, 4, 3).state_dict()
    following = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(following, torch.rand(1))
    same, other = model(spec, 4, 3).state_dict(), model(spec, 4, 4).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_weights_are_read_for_pretraining_only(tmp_path: Path) -> None:
    tensors = vgg16_tensors(width=2)
    torch.save(tensors, tmp_path / "vgg.pth")
    spec = _spec(name="fcn8s", width=2, weights=str(tmp_path / "vgg.pth"))
    pretrained, random = model(spec, 4, 0, pretrained=True), model(spec, 4, 0)
    assert isinstance(pretrained, FCN) and isinstance(random, FCN)
    first = tensors["features.0.weight"]
    assert torch.equal(_first_weight(pretrained), first) and not torch.equal(_first_weight(random), first)
    unset = model(_spec(name="fcn8s", width=2), 4, 0, pretrained=True)
    assert isinstance(unset, FCN) and torch.equal(_first_weight(unset), _first_weight(random))


def _first_weight(network: FCN | SegNet) -> torch.Tensor:
    layer = next(iter(network.vgg16_layers().values()))
    assert isinstance(layer, nn.Conv2d)
    return layer.weight


def test_weights_of_another_width_name_the_width(tmp_path: Path) -> None:
    torch.save(vgg16_tensors(batch_norm=True, width=2), tmp_path / "vgg.pth")
    spec = _spec(name="segnet", width=1, weights=str(tmp_path / "vgg.pth"))
    with pytest.raises(ValueError, match=r"features\.0\.weight is 2×3×3×3, the network's 1×3×3×3: .* model\.width 64"):
        model(spec, 4, 0, pretrained=True)


def test_a_network_without_the_paper_s_start_has_a_note() -> None:
    for name in ("fcn32s", "fcn16s", "fcn8s", "segnet"):
        note = f"model: {name} starts from random weights: name torchvision's VGG-16 under model.weights"
        assert (_spec(name=name).note or "").startswith(note)
        assert _spec(name=name, weights="vgg.pth").note is None
    assert _spec(name="unet").note is None
    assert _spec(name="custom", factory="a:b").note is None


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an importable module with networks."""
    (tmp_path / "their_networks.py").write_text(CUSTOM)
    (tmp_path / "their_broken.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(ALLOW_CODE, "1")
    yield "their_networks"
    for name in ("their_networks", "their_broken"):
        sys.modules.pop(name, None)


def test_a_custom_network_is_called_with_its_options(custom: str) -> None:
    network = model(_spec(name="custom", factory=f"{custom}:Pointwise", options={"scale": 2.5}), 4, 0, pretrained=True)
    assert network.out_channels == 4 and network.scale == 2.5
    same, other = (model(_spec(name="custom", factory=f"{custom}:Pointwise"), 4, seed) for seed in (0, 1))
    assert isinstance(network, nn.Conv2d) and isinstance(same, nn.Conv2d) and isinstance(other, nn.Conv2d)
    assert torch.equal(network.weight, same.weight) and not torch.equal(network.weight, other.weight)
    assert same.scale == 1.0


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        ("their_missing:Network", {}, r"model\.factory: their_missing:Network: No module named 'their_missing': must "),
        ("their_broken:Network", {}, r"model\.factory: their_broken:Network: No module named 'not_installed_anywhere'"),
        ("their_networks:Other", {}, r"model\.factory: their_networks:Other: Other does not exist in .*_networks\.py:"),
        ("their_networks:number", {}, r"model\.factory: their_networks:number: number is not callable in .*works\.py:"),
        (
            "their_networks:no_network",
            {},
            r"model\.factory: their_networks:no_network: returned str: must return a tor",
        ),
        ("their_networks:Pointwise", {"depth": 3}, r"model\.options: depth: .*unexpected keyword argument 'depth': "),
        ("their_networks:Pointwise", {"num_classes": 3}, r"model\.options: num_classes: .*multiple values .*: "),
    ],
)
def test_a_custom_network_that_cannot_be_made_is_explained(
    custom: str, factory: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(_spec(name="custom", factory=factory, options=options), 4, 0)


@pytest.mark.parametrize("allowed", [None, "", "0", "true"])
def test_a_custom_network_is_not_imported_unless_that_is_allowed(
    custom: str, monkeypatch: pytest.MonkeyPatch, allowed: str | None
) -> None:
    monkeypatch.delenv(ALLOW_CODE) if allowed is None else monkeypatch.setenv(ALLOW_CODE, allowed)
    message = rf"^model\.factory: {custom}:Pointwise: runs code of its own: pass --allow-code if you trust it$"
    with pytest.raises(ValueError, match=message):
        model(_spec(name="custom", factory=f"{custom}:Pointwise"), 4, 0)
    assert custom not in sys.modules


class ObjectStore:
    """An S3 server of one bucket, which knows HEAD and GET of an object."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.seconds = 0.0
        self.missing_bytes = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                time.sleep(store.seconds)
                self.wfile.write(self._answer())

            def _answer(self) -> bytes:
                store.requests.append(f"{self.command} {self.path}")
                content = store.objects.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"") + store.missing_bytes))
                self.send_header("ETag", '"0"')
                self.end_headers()
                return content or b""

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    store = ObjectStore()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("NEUROIOU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield store
    store.close()


def _gets(store: ObjectStore) -> int:
    return sum(request.startswith("GET") for request in store.requests)


def test_weights_come_from_an_object_store_once(object_store: ObjectStore, tmp_path: Path) -> None:
    tensors = vgg16_tensors(width=1)
    torch.save(tensors, tmp_path / "vgg.pth")
    object_store.objects["/bucket/nets/vgg.pth"] = (tmp_path / "vgg.pth").read_bytes()
    spec = _spec(name="fcn32s", width=1, weights="s3://bucket/nets/vgg.pth")
    for _ in range(2):
        network = model(spec, 4, 0, pretrained=True)
        assert isinstance(network, FCN) and torch.equal(_first_weight(network), tensors["features.0.weight"])
    assert _gets(object_store) == 1
    folder = tmp_path / "cache" / "neuroiou-study" / "weights"
    assert [path.name.partition("-")[2] for path in folder.glob("[!.]*")] == ["vgg.pth"]
    assert weights_file("s3://bucket/nets/vgg.pth").parent == folder


def test_two_objects_of_one_name_are_two_files(object_store: ObjectStore) -> None:
    object_store.objects |= {"/bucket/a/vgg.pth": b"a", "/bucket/b/vgg.pth": b"b"}
    assert [weights_file(f"s3://bucket/{key}/vgg.pth").read_bytes() for key in "ab"] == [b"a", b"b"]


def test_workers_of_one_machine_download_once(object_store: ObjectStore) -> None:
    object_store.objects["/bucket/vgg.pth"], object_store.seconds = b"content", 0.2
    seen: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: seen.append(weights_file("s3://bucket/vgg.pth").read_bytes())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"content"] * 3
    assert _gets(object_store) == 1


def test_an_object_that_cannot_be_read_is_explained(object_store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^model\.weights: s3://bucket/vgg\.pth: .*404.*: check the address, and "):
        weights_file("s3://bucket/vgg.pth")
    assert _files(tmp_path / "cache") == []


def test_a_download_cut_short_leaves_nothing(object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.objects["/bucket/vgg.pth"], object_store.missing_bytes = b"content", 3
    with pytest.raises(RuntimeError, match=r"^model\.weights: s3://bucket/vgg\.pth: .*: check the address"):
        weights_file("s3://bucket/vgg.pth")
    assert _files(tmp_path / "cache") == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize(
    "address", ["s3://bucket", "s3://bucket/", "s3:///key", "s3://bucket/folder/", "gs://bucket/a"]
)
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=rf"^model\.weights: {re.escape(address)}: must be "):
        weights_file(address)


def test_a_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_file("nets/vgg.pth") == Path("nets/vgg.pth")
    assert weights_file("~/vgg.pth") == tmp_path / "vgg.pth"
