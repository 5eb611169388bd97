"""GPUs: what pictures cost on one by arithmetic, and where one is at hand, what they take.

Without a card: launches, bytes and FLOPs, counted on PyTorch's meta device, the least time that a card's bandwidth and
arithmetic allow (the roofline), and what Triton's kernels compile to. With one: the golden cases, then times.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as trees
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import models
from models.continuous import Field
from models.decoders.lmf import LMFDecoder
from models.native import backends, fused
from models.native.fused import FusedStage
from models.upscaler import Upscaler
from tools.bench.figures import in_turn, short_name
from utils import cli
from utils.config import load_config, require
from utils.errors import InputError
from utils.files import PROJECT
from utils.geometry.grids import Grid, Size
from utils.geometry.homographies import Homography
from utils.geometry.neighbours import Neighbours

MODELS = tuple(
    f"configs/train-lmf/train_edsr-{name}.yaml"
    for name in ("s-lmliif", "baseline-lmliif", "baseline-lmlte", "baseline-lmciaosr")
)
SIZES = {"720p": ((180, 320), (720, 1280)), "4K": ((540, 960), (2160, 3840))}  # of LR and output, x4
AGREEMENT = 1e-5


@dataclass(frozen=True)
class Card:
    """A GPU by its maker's figures: float32 operations and bytes a second; registers, bytes of shared memory and
    threads of a multiprocessor."""

    capability: int
    flops: float
    bandwidth: float
    shared: int
    threads: int = 2048
    registers: int = 65536

    def seconds(self, cost: "Cost") -> float:
        """The least time, by arithmetic or by memory."""
        return max(cost.flops / self.flops, cost.bytes / self.bandwidth)


CARDS = {
    "A100": Card(80, 19.5e12, 2.04e12, 164 << 10),
    "H100": Card(90, 66.9e12, 3.35e12, 228 << 10),
    "H200": Card(90, 66.9e12, 4.8e12, 228 << 10),
    "RTX 3090": Card(86, 35.6e12, 0.936e12, 100 << 10, threads=1536),
    "RTX 4090": Card(89, 82.6e12, 1.01e12, 100 << 10, threads=1536),
}


@dataclass(frozen=True)
class Cost:
    """Launches, bytes moved and floating-point operations of a computation."""

    launches: int
    bytes: int
    flops: int


def launches(function: torch._ops.OpOverload) -> bool:
    """Whether an operation runs something on a device, instead of making a view, memory, or other operations."""
    name, key = function.name(), "CompositeImplicitAutograd"
    if function.namespace != "aten" or function.is_view or torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
        return False
    return not any(word in name for word in ("empty", "detach", "lift_fresh", "_unsafe_view"))


class Counter(TorchDispatchMode):
    """Counts operations within the block that launch something, and the bytes of the tensors they read and write."""

    def __init__(self):
        super().__init__()
        self.launches = self.bytes = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        tensors = [leaf for leaf in trees.tree_leaves((arguments, named, result)) if isinstance(leaf, Tensor)]
        on_device = [tensor for tensor in tensors if tensor.is_meta]
        if on_device and launches(function):
            self.launches += 1
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in on_device)
        return result


def counted(compute: Callable[[], Any]) -> tuple[Cost, Any]:
    """The cost of a computation by PyTorch on the meta device, and its result."""
    with torch.no_grad(), FlopCounterMode(display=False) as flops, Counter() as counter:
        result = compute()
    return Cost(counter.launches, counter.bytes, flops.get_total_flops()), result


def fused_cost(stage: FusedStage, positions: int) -> Cost:
    """The cost of the Triton kernel for a number of positions: it reads each LR pixel and writes each output once,
    and evaluates every neighbour's MLP; a second launch joins its parameters."""
    units, depth, neighbours = stage.hidden, stage.depth, 4 if stage.local_ensemble else 1
    first = 2 * units * (stage.waves or 2)
    layers = first + (depth - 1) * 2 * units**2 + 2 * units * depth
    held = [stage.table, stage.modulation, *([] if stage.skip is None else [stage.skip]), *stage.parameters]
    values = sum(tensor.numel() for tensor in held) + 3 * positions
    return Cost(2, 4 * values, positions * (neighbours * (layers + 2 * units) + 6 * units))


def on_meta(config: str) -> LMFDecoder:
    """The model of a training config, without memory."""
    with torch.device("meta"):
        return models.make(require(load_config(PROJECT / config), "model", config)).eval()


def dry_table(cards: list[str], configs: Sequence[str] = MODELS) -> dict[str, Any]:
    """Costs of each model's stages, and the least milliseconds of each on the cards."""
    table = {}
    for config in configs:
        model = on_meta(config)
        for label, (size, output) in SIZES.items():
            grid, image = Grid.of_size(output), torch.empty(1, 3, *size, device="meta")
            encode, latent = counted(lambda model=model, image=image: model.encode(image))
            cell = model.cell(latent, grid)
            prepare, field = counted(lambda model=model, latent=latent, cell=cell: model.field(latent, cell))
            painted = torch.empty(1, 3, *output, device="meta")
            stages = {
                "encode": encode,
                "latent MLP": prepare,
                "render, PyTorch": counted(lambda m=model, f=field, g=grid, p=painted: m.paint(f, g, p))[0],
                "render, Triton": fused_cost(model.fused(field), output[0] * output[1]),
            }
            for stage, cost in stages.items():
                least = {f"{card} ms": 1e3 * CARDS[card].seconds(cost) for card in cards}
                table[f"{short_name(config)} {label} {stage}"] = asdict(cost) | least
    return table


LERF = {
    "lut_stage": {"TERMS": 12, "VALUES": 3, "SCALE": 1.0, "LAST": 17**4 - 1, "FIRST": False, "BLOCK": 128},
    "resample": {"TAPS": 2, "GAUSS": True, "BLOCK": 128},
}


def compiled(kernel: str, config: str, card: Card) -> dict[str, float]:
    """A kernel compiled ahead for a card, which needs none: `paint` or `gradients` of triton_lmf.py for the model of a
    config, or one of LERF for LeRF-G.

    {registers of a thread, bytes spilled, bytes shared, machine instructions, occupancy: the share of a
    multiprocessor's threads that run at a time}.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from models.native import triton_lerf, triton_lmf

    if os.environ.get("TRITON_INTERPRET") == "1":
        raise InputError("TRITON_INTERPRET=1 makes no kernels; unset it")
    if kernel in LERF:
        function, shape = getattr(triton_lerf, kernel), LERF[kernel] | {"num_warps": 4, "enable_fp_fusion": False}
    else:
        model, function = on_meta(config), getattr(triton_lmf, kernel)
        field = model.field(model.encode(torch.empty(1, 3, 8, 8, device="meta")), torch.zeros(1, 2, device="meta"))
        stage = model.fused(field)
        if kernel == "paint":
            shape = stage.shape(fused.PAINTED_TILE) | {"HAS_SKIP": stage.skip is not None, "HAS_CHOICE": False}
        else:
            shape = stage.shape(fused.GRADIENT_TILE) | {"maxnreg": fused.GRADIENT_REGISTERS}
    constants = {name: shape[name] for name in shape if name.isupper()}
    options = {name: shape[name] for name in shape if name not in constants}
    signature = {name: "constexpr" if name in constants else kernel_type(name) for name in function.arg_names}
    aligned = (kind == "*fp32" or re.match(r"(table|mod)_[byx]$", name) for name, kind in signature.items())
    attributes = {(i,): [["tt.divisibility", 16]] for i, is_aligned in enumerate(aligned) if is_aligned}
    source = ASTSource(function, signature, constants, attributes)
    made = triton.compile(source, target=GPUTarget("cuda", card.capability, 32), options=options)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        usage, listing = (
            subprocess.run([tool, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("--dump-resource-usage", "-sass")
        )
    registers, stack, own = (int(re.search(rf"{word}:(\d+)", usage)[1]) for word in ("REG", "STACK", "SHARED"))
    threads, shared = 32 * options["num_warps"], made.metadata.shared + own
    blocks = min(card.registers // (-(-registers // 8) * 8 * threads), card.shared // max(1, shared))
    return {
        "registers": registers,
        "spilled": stack,
        "shared": shared,
        "instructions": len(re.findall(r"/\*[0-9a-f]{4,}\*/ +[^/ ]", listing)),
        "occupancy": min(1.0, blocks * threads / card.threads),
    }


def kernel_type(name: str) -> str:
    """Triton's type of a kernel's argument, which its name tells."""
    pointers = ("output", "ys", "xs", "table", "modulation", "weights", "skip", "source", "luts", "feature", "stretch")
    if name in ("chosen", "offsets"):
        return "*u8" if name == "chosen" else "*i32"
    if name in pointers or name.startswith("d_"):
        return "*fp32"
    return "fp32" if re.match(r"(low|high|first|step|epsilon)_[yx]$|divisor$|radius$", name) else "i32"


def published(model: LMFDecoder, field: Field, coord: Tensor) -> Tensor:
    """The published formulation: all positions at once, neighbour after neighbour, each with its own copy of all
    modulations, a launch a layer."""
    values: Tensor | float = 0.0
    for one in Neighbours.of_points(coord, field.pixels, model.local_ensemble).each():
        scales, shifts = model.imnet.split(one.gather(field.modulation))
        values = values + one.blend(model.imnet.after_first(model.first_layer(field, one), scales, shifts))
    return values + field.skip_at(coord)


def measured(config: str, device: torch.device, size: Size, output: Size, repeats: int) -> dict[str, float]:
    """Milliseconds of a model's stages on a device in three formulations, in turn, medians; peak megabytes; and by how
    much the formulations differ, which must be less than AGREEMENT."""
    torch.manual_seed(0)
    model = models.make(require(load_config(PROJECT / config), "model", config)).eval().to(device)
    image, grid = torch.rand(1, 3, *size, device=device), Grid.of_size(output)
    warp = Homography.rotation(12, size, output, tuple(n / m for n, m in zip(output, size, strict=True)))
    upscalers = {name: Upscaler(model, device=device, backend=name) for name in ("torch", "triton")}
    latent = upscalers["torch"].encode(image)
    with torch.inference_mode():
        field = model.field(latent, model.cell(latent, grid))
        coord = grid.on(device).coord().flatten(0, 1)[None]

    def painting(upscaler: Upscaler, grid: Any) -> Tensor:
        with upscaler.computing():
            painted = torch.zeros(1, 3, *output, device=device)
            model.paint(field, grid, painted)
            return painted

    def literal() -> Tensor:
        with torch.inference_mode():
            return published(model, field, coord).transpose(1, 2).unflatten(2, output)

    runs = {"encode": lambda: upscalers["torch"].encode(image), "render, published": literal}
    for name, upscaler in upscalers.items():
        runs[f"render, {name}"] = lambda upscaler=upscaler: painting(upscaler, grid)
        runs[f"warp, {name}"] = lambda upscaler=upscaler: painting(upscaler, warp.grid(size, output))
        runs[f"whole, {name}"] = lambda upscaler=upscaler: upscaler(image, output)
        runs[f"train step, {name}"] = lambda upscaler=upscaler: _step(upscaler, size)
    expected = literal()
    for name in upscalers:
        difference = float((runs[f"render, {name}"]() - expected).abs().max())
        if difference > AGREEMENT:
            raise InputError(f"{short_name(config)}: {name} differs from the published formulation by {difference:.2g}")
    on_card = device.type == "cuda"

    def until_done(run: Callable[[], Any]) -> None:
        run()
        if on_card:
            torch.cuda.synchronize(device)

    times = in_turn({name: partial(until_done, run) for name, run in runs.items()}, repeats)
    figures = {f"{name}, ms": 1e3 * statistics.median(values) for name, values in times.items()}
    for name, run in runs.items() if on_card else ():
        torch.cuda.reset_peak_memory_stats(device)
        run()
        figures[f"{name}, peak MB"] = torch.cuda.max_memory_allocated(device) / 1e6
    return figures


def _step(upscaler: Upscaler, size: Size) -> None:
    """A training step's forward and backward pass: 16 crops of at most 48x48 pixels, a position for each."""
    side = min(48, *size)
    image, coord = torch.rand(16, 3, side, side, device=upscaler.device), torch.rand(16, side**2, 2) * 2 - 1
    cell = torch.full((16, 2), 0.02, device=upscaler.device)
    with torch.enable_grad(), backends.using(upscaler.backend):
        upscaler.model(image, coord.to(upscaler.device), cell).square().mean().backward()
    upscaler.model.zero_grad()


def gpu(arguments: Any) -> dict[str, Any]:
    """`python -m tools.bench gpu`."""
    unknown = set(arguments.cards) - CARDS.keys()
    if unknown:
        raise InputError(f"--cards: unknown {', '.join(sorted(unknown))}; known are: {', '.join(CARDS)}")
    if torch.cuda.is_available():
        golden = [sys.executable, "-m", "pytest", "-q", PROJECT / "tests/models/test_golden.py", "-k", "cuda"]
        if subprocess.run(golden, cwd=PROJECT).returncode:
            raise InputError("the golden cases fail on this card; no time is measured")
    table, kernels = dry_table(arguments.cards), {}
    figures: dict[str, Any] = {}
    for name, cost in table.items():
        least = "  ".join(f"{key} {value:.2f}" for key, value in cost.items() if key.endswith(" ms"))
        moved = f"{cost['launches']:6} launches {cost['bytes'] / 1e6:9.0f} MB {cost['flops'] / 1e9:8.1f} GFLOP"
        figures[name] = f"{moved}  {least}"
    for capability, card in {CARDS[name].capability: CARDS[name] for name in arguments.cards}.items():
        for kernel in ("paint", "gradients"):
            for config in MODELS[:3]:
                kernels[f"sm_{capability} {kernel} {short_name(config)}"] = compiled(kernel, config, card)
        for kernel in LERF:
            kernels[f"sm_{capability} {kernel} lerf-g"] = compiled(kernel, "lerf-g", card)
    for name, made in kernels.items():
        figures[name] = "  ".join(f"{key} {value:.3g}" for key, value in made.items())
    report = {"figures": figures, "table": table, "kernels": kernels}
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        report["device"] = torch.cuda.get_device_name(device)
        for config in MODELS:
            for label, sizes in SIZES.items():
                found = measured(config, device, *sizes, arguments.repeats)
                figures |= {f"{short_name(config)} {label} {name}": value for name, value in found.items()}
    return report


def add_commands(commands: Any, common: cli.Parser) -> None:
    described = "costs, rooflines and compiled kernels of GPUs; where one is at hand, golden cases and times"
    command = commands.add_parser("gpu", parents=[common], help=described, description=described)
    command.add_argument("--cards", nargs="+", default=list(CARDS), help=f"of {', '.join(CARDS)}")
    command.add_argument("--repeats", type=cli.count, default=20, help="rounds after a warm-up")
    command.set_defaults(run=gpu)
