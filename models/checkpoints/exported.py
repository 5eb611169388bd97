"""Models as ONNX: the folder that tools.export_onnx writes, run by onnxruntime on a CPU."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.continuous import ContinuousModel, Field, Latent, Tiling
from models.zoo import ONNX_NOTE
from utils.config import MAPPING, NUMBERS, SWITCH, TEXT, TEXTS, Check, check_complete, whole
from utils.errors import InputError, shortened
from utils.files import check_regular, read_json

FORMAT = "continua-onnx-1"
ENCODE, RENDER = "encode.onnx", "render.onnx"
KINDS = {
    "format": Check(f"{FORMAT}, which exports have now", lambda v: v == FORMAT),
    "model": MAPPING, "weights_hash": TEXT, "opset": whole(1), "calls": MAPPING, "latent": TEXTS,
    "render_inputs": TEXTS, "sha256": MAPPING, "trained_scales": NUMBERS, "averages": SWITCH,
    "tiling": Check("how it may be tiled", lambda v: v in [tiling.value for tiling in Tiling]),
    "floats_per_query": whole(1), "smallest_side": whole(1), "largest_side": whole(1),
}  # fmt: skip
OPTIONAL = ("trained_scales", "largest_side")
CALL_BYTES = 64 << 20  # size of the widest intermediate of one call of render.onnx, which prepares the field each time
CONSTANT = 1e-5  # relative: a map of cells that varies less is one cell


@dataclass(frozen=True)
class ExportedLatent(Latent):
    """`parts`: what encode.onnx gave, in the order of its outputs; `features` is the first."""

    parts: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class ExportedField(Field):
    """`table` is the picture; `parts` as in the latent; `cell` (B, 2)."""

    parts: tuple[Tensor, ...]
    cell: Tensor


class ExportedModel(ContinuousModel):
    """A model whose encode.onnx and render.onnx are run by onnxruntime, on the CPU whatever the device.

    Pictures are in [0, 1] on both sides: the graphs normalise. InputError when the folder is not what its note says,
    and where onnxruntime is not installed.
    """

    normalization = (0.0, 1.0)

    def __init__(self, folder: str | Path):
        super().__init__()
        path = (folder := Path(folder)) / ONNX_NOTE
        note = read_json(path, "note of an ONNX export")
        check_complete(note, KINDS, str(path), OPTIONAL)
        known = [*note["latent"], "coord", "cell"]
        if not set(note["render_inputs"]) <= set(known):
            raise InputError(f"{path}: render_inputs is {shortened(note['render_inputs'])}, not of {shortened(known)}")
        self.latent_names, self.render_inputs = note["latent"], note["render_inputs"]
        self.floats_per_query = note["floats_per_query"]
        self.trained_scales = tuple(note["trained_scales"]) if note.get("trained_scales") else None
        self.averages = note["averages"]
        self._tiling = Tiling(note["tiling"])
        self.sides = note["smallest_side"], note.get("largest_side")
        self.weights = note["weights_hash"]
        self.sessions = {name: _session(folder / name, note["sha256"].get(name)) for name in (ENCODE, RENDER)}

    def extra_repr(self) -> str:
        return f"weights={self.weights}"

    @property
    def tiling(self) -> Tiling:
        return self._tiling

    def encode(self, image: Tensor) -> ExportedLatent:
        smallest, largest = self.sides
        if min(image.shape[-2:]) < smallest or (largest and max(image.shape[-2:]) > largest):
            allowed, given = f"{smallest} to {largest or 'any'}", "x".join(map(str, image.shape[:-3:-1]))
            raise InputError(f"this ONNX export takes sides from {allowed} pixels, not {given}; use the checkpoint")
        parts = self._run(ENCODE, self.latent_names, {"image": image})
        return ExportedLatent(parts[0], image, parts)

    def field(self, latent: ExportedLatent, cell: Tensor) -> ExportedField:
        if cell.dim() == 4 and "cell" in self.render_inputs:
            low, high = cell.amin((2, 3)), cell.amax((2, 3))
            if ((high - low) > CONSTANT * high).any():
                raise InputError("an ONNX export takes output pixels of one size; use the checkpoint")
        cell = cell.mean((2, 3)) if cell.dim() == 4 else cell
        return ExportedField(latent.image.permute(0, 2, 3, 1), parts=latent.parts, cell=cell)

    def sample(self, field: ExportedField, coord: Tensor) -> Tensor:
        given = {**dict(zip(self.latent_names, field.parts, strict=True)), "coord": coord, "cell": field.cell}
        rgb = self._run(RENDER, ["rgb"], {name: given[name] for name in self.render_inputs})[0]
        if rgb.shape != (*coord.shape[:2], 3):
            raise InputError(f"{RENDER} gives {tuple(rgb.shape)} at {tuple(coord.shape)}; export the model again")
        return rgb

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        raise InputError("the cost of an ONNX export is that of its checkpoint; name that")

    def _chunk_queries(self, field: Field) -> int:
        return max(1, CALL_BYTES // (4 * self.floats_per_query * field.batch))

    def _run(self, name: str, outputs: list[str], inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        device = next(iter(inputs.values())).device
        arrays = {key: value.detach().cpu().float().contiguous().numpy() for key, value in inputs.items()}
        try:
            made = self.sessions[name].run(outputs, arrays)
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise InputError(f"{name} cannot be run: {shortened(str(error))}") from None
        return tuple(torch.from_numpy(part).to(device) for part in made)


def _session(path: Path, sha256: Any) -> Any:
    """onnxruntime's session of a file with that hash."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path} needs onnxruntime; pip install onnxruntime, or name the checkpoint") from None
    content = check_regular(path, "ONNX file").read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{path} is not the file that {ONNX_NOTE} beside it notes; export the model again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave the processor
    options.log_severity_level = 4  # errors are raised
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise InputError(f"{path} is not an ONNX model that can be run: {shortened(str(error))}") from None
