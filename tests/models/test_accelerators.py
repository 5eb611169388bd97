"""Models on an accelerator, without one: tensors on "cuda" are PyTorch's fakes, which have a device and a shape and no
values.

Whatever asks the device for a value (`.item()`, an `if` on a tensor, `nonzero`, `unique`) fails, as does an operation
on tensors of two devices. Tensors on the CPU are real ones: what a grid reads is found there.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils import _pytree as trees

import models
from models import computing
from models.cmsr.rendering import Level, render_controlled
from models.layers.cross_scale_attention import CrossScaleAttention
from models.safeguards import reduces_nowhere
from models.upscaler import Upscaler
from tests.registered import DECODERS, FILTERS, SMALL_ENCODER, small_spec
from tests.registered import SPECS as PUBLISHED
from tools.bench.gpu import launches
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography

DEVICE = torch.device("cuda", 0)
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
INPUT, OUTPUT, WARPED = (5, 4), (7, 9), (3, 4)
ENCODERS = {
    "edsr-baseline": {"n_resblocks": 1, "n_feats": 8, "no_upsampling": True},
    "rcan": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "no_upsampling": True},
    "rdn": {"G0": 8, "RDNconfig": "A", "no_upsampling": True},
    "swinir": {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 4},
}
MLP = {"name": "mlp", "args": {"hidden_list": [16]}}
OTHERS = {
    "lerf-net": {"name": "lerf-net", "args": {"nf": 8}},
    "lerf-net-plus": {
        "name": "lerf-net-plus",
        "args": {"upsampler_spec": {"name": "liif", "args": {
            "encoder_spec": SMALL_ENCODER, "imnet_spec": MLP}}, "nf": 8},
    },
    "lerf-l": {"name": "lerf-l", "args": {"nf": 8}},
    "lerf-g": {"name": "lerf-g", "args": {"nf": 8}},
    "lerf-lut": {"name": "lerf-lut", "args": {"kernel": "gauss"}},
}  # fmt: skip
SPECS = {**{name: small_spec(name) for name in DECODERS + FILTERS}, **OTHERS}
DISTINCT = [name for name in SPECS if name not in ("bilinear", "bicubic", "catmull-rom")]  # Lanczos by other profiles


class FakeDevice(FakeTensorMode):
    """Within the block, what is on DEVICE is fake. `launches` counts operations that a device would have to launch, and
    `copies` those of them that copy from the CPU."""

    def __init__(self):
        super().__init__(allow_non_fake_inputs=True, static_shapes=True)
        self.launches = self.copies = self.depth = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.depth += 1  # what an operation's fake calls is no launch
        try:
            result = self._computed(function, types, arguments, named or {})
        finally:
            self.depth -= 1
        if not self.depth and launches(function):
            used = [leaf for leaf in trees.tree_leaves((arguments, named)) if isinstance(leaf, torch.Tensor)]
            made = [leaf for leaf in trees.tree_leaves(result) if isinstance(leaf, FakeTensor)]
            self.launches += bool(made) or any(isinstance(tensor, FakeTensor) for tensor in used)
            self.copies += function in COPIES and bool(made) and any(tensor.is_cpu for tensor in used)
        return result

    def _computed(self, function, types, arguments, named):
        leaves = trees.tree_leaves((arguments, named))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        fakes = [tensor for tensor in tensors if isinstance(tensor, FakeTensor)]
        if not fakes and not any(isinstance(leaf, torch.device) and leaf.type == DEVICE.type for leaf in leaves):
            return function(*arguments, **named)
        if function not in COPIES and len({tensor.device for tensor in tensors if tensor.dim()}) > 1:
            raise RuntimeError(f"{function} on tensors of two devices")
        if len(fakes) < len(tensors):
            arguments, named = trees.tree_map(self._faked, (arguments, named))
        return super().__torch_dispatch__(function, types, arguments, named)

    def _faked(self, leaf):
        """A fake on the same device in the place of a real tensor: its values are what a copy would need."""
        return self.from_tensor(leaf) if isinstance(leaf, torch.Tensor) and not isinstance(leaf, FakeTensor) else leaf


def on_device(spec) -> Upscaler:
    torch.manual_seed(0)
    with FakeDevice():
        model = models.make(spec).eval().requires_grad_(False).to(DEVICE)
        return Upscaler(model, device=DEVICE, backend="torch")


def is_on_device(tensor: torch.Tensor, shape: tuple[int, ...]) -> bool:
    return isinstance(tensor, FakeTensor) and tensor.device == DEVICE and tuple(tensor.shape) == shape


@pytest.mark.parametrize("name", DISTINCT)
def test_grids_and_warps_are_rendered_without_asking_the_device(name) -> None:
    upscaler = on_device(SPECS[name])
    # Some output pixels are larger than the LR pixels, but no more than that: a filter's taps grow with their size
    warp = Homography.rotation(20, INPUT, WARPED, (0.9, 0.8)).grid(INPUT, WARPED)
    assert not reduces_nowhere(warp, INPUT)
    assert not warp.inside().all()
    with FakeDevice():
        latent = upscaler.encode(torch.rand(1, 3, *INPUT))
        assert is_on_device(upscaler.render(latent, OUTPUT), (1, 3, *OUTPUT))
        assert is_on_device(upscaler.render(latent, warp), (1, 3, *WARPED))
        assert is_on_device(upscaler.render(latent, OUTPUT, queries=30), (1, 3, *OUTPUT))
        image, coord = torch.rand(2, 3, *INPUT, device=DEVICE), torch.rand(2, 17, 2, device=DEVICE)
        cell = torch.full((2, 2), 0.1, device="cpu" if upscaler.model.cell_on_cpu else DEVICE)
        with torch.no_grad():
            assert is_on_device(upscaler.model(image, coord, cell), (2, 17, 3))


@pytest.mark.parametrize("name", DISTINCT)
def test_a_picture_is_rendered_in_few_launches(name, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sizes of published models, on a card of 140 GB; the positions of a picture are not copied in chunks."""
    monkeypatch.setattr(computing, "UNTOLD_BYTES", 139 << 30)
    monkeypatch.setattr(CrossScaleAttention, "forward", lambda self, features: features)  # a part of encoding
    plus = {"name": name, "args": {"upsampler_spec": PUBLISHED["liif"]}}
    default = plus if name == "lerf-net-plus" else {"name": name, "args": {}}
    upscaler, counts = on_device(PUBLISHED.get(name, default)), []
    for size, output in (((180, 320), (720, 1280)), ((540, 960), (2160, 3840))):
        with FakeDevice() as device:
            latent = upscaler.encode(torch.rand(1, 3, *size))
            before = device.launches, device.copies
            assert is_on_device(upscaler.render(latent, output), (1, 3, *output))
            counts.append((device.launches - before[0], device.copies - before[1]))
    (launched, copied), (launched_large, copied_large) = counts
    assert launched <= 300
    assert launched_large <= 2 * launched
    assert copied_large <= copied


@pytest.mark.parametrize("name", ["lmliif", "liif", "lerf-lut"])
def test_less_memory_is_more_chunks_without_more_copies(name) -> None:
    upscaler, counts = on_device(SPECS[name]), []
    warp = Homography.rotation(20, (90, 80), (150, 160), (2, 2)).grid((90, 80), (150, 160))
    for bound in (1 << 30, 8 << 20):
        for grid in (Grid.of_size((360, 320)), warp):
            with FakeDevice() as device, computing.bounded(bound):
                latent = upscaler.encode(torch.rand(1, 3, 90, 80))
                before = device.launches, device.copies
                upscaler.render(latent, grid)
                counts.append((device.launches - before[0], device.copies - before[1]))
    assert all(few[0] < many[0] for few, many in zip(counts[:2], counts[2:], strict=True))
    assert all(few[1] == many[1] for few, many in zip(counts[:2], counts[2:], strict=True))


def test_where_memory_ends_chunks_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "UNTOLD_BYTES", 100 << 20)
    tried = []

    def compute() -> None:
        tried.append(computing.chunk_bytes(DEVICE))
        if len(tried) < 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    computing.in_memory_of(DEVICE, compute)
    assert tried == [25 << 20, 25 << 19, 25 << 18]
    assert computing.chunk_bytes(DEVICE) == 25 << 20
    with computing.bounded(20 << 20):
        assert computing.chunk_bytes(DEVICE) == 5 << 20

    def hopeless() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        computing.in_memory_of(DEVICE, hopeless)


@pytest.mark.parametrize("name", ["lmliif", "lmlte", "lmciaosr"])
def test_cmsr_asks_the_device_once(name, monkeypatch: pytest.MonkeyPatch) -> None:
    """At which level each LR pixel is rendered."""
    asked = []

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, FakeTensor):
            return tensor
        asked.append(tensor)
        return torch.arange(tensor.numel()).view(tensor.shape) % 3

    upscaler, levels = on_device(SPECS[name]), [Level(1, 0.1), Level(2, 0.2), Level(4, 1)]
    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    with FakeDevice():
        made = render_controlled(upscaler, upscaler.encode(torch.rand(1, 3, *INPUT)), (20, 16), levels)
    assert is_on_device(made.picture, (3, 20, 16))
    assert len(asked) == 1


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name) -> None:
    encoder = {"name": name, "args": ENCODERS[name]}
    upscaler = on_device({"name": "liif", "args": {"encoder_spec": encoder, "imnet_spec": MLP}})
    with FakeDevice():
        features = upscaler.encode(torch.rand(1, 3, *INPUT)).features
        assert is_on_device(features, (1, upscaler.model.encoder.out_dim, *INPUT))


def test_fakes_notice_what_they_are_for() -> None:
    with FakeDevice():
        values = torch.rand(3, device=DEVICE)
        with pytest.raises(DataDependentOutputException):
            values.sum().item()
        with pytest.raises(Exception, match="nonzero"):
            values.nonzero()
        with pytest.raises(RuntimeError, match="two devices"):
            values + torch.rand(3)
        assert int(torch.ones(3).sum()) == 3


def test_everything_registered_is_tested() -> None:
    assert {*ENCODERS, "edsr"} == set(models.names("encoders"))  # which is edsr-baseline of another size
    assert SPECS.keys() == {name for kind in ("decoders", "resampling", "lerf") for name in models.names(kind)}
