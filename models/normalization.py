"""Between pictures in [0, 1] and the range that models see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from utils.config import MAPPING, NUMBERS, check_keys, check_types
from utils.errors import InputError


@dataclass(frozen=True)
class Affine:
    """(x - sub) / div per channel and back, on (..., 3, H, W) pictures or, with `channels_last`, (..., 3) colours."""

    sub: tuple[float, ...] = (0.5,)
    div: tuple[float, ...] = (0.5,)

    @property
    def span(self) -> float:
        """Length of [0, 1] after `apply`, averaged over the channels."""
        return sum(1 / abs(value) for value in self.div) / len(self.div)

    def apply(self, x: Tensor, channels_last: bool = False) -> Tensor:
        if self == IDENTITY:
            return x
        sub, div = self._constants(x, channels_last)
        return (x - sub) / div

    def invert(self, x: Tensor, channels_last: bool = False) -> Tensor:
        return self.invert_(x.clone(), channels_last)

    def invert_(self, x: Tensor, channels_last: bool = False) -> Tensor:
        """`invert` in place: pictures can be large."""
        if self == IDENTITY:
            return x
        sub, div = self._constants(x, channels_last)
        return x.mul_(div).add_(sub)

    def _constants(self, x: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
        shape = (-1,) if channels_last else (-1, 1, 1)
        return x.new_tensor(self.sub).reshape(shape), x.new_tensor(self.div).reshape(shape)


IDENTITY = Affine((0.0,), (1.0,))


@dataclass(frozen=True)
class Normalization:
    """`data_norm` of a config: how inputs are normalised and outputs read."""

    inp: Affine = Affine()
    gt: Affine = Affine()

    @classmethod
    def from_config(cls, data_norm: Mapping[str, Mapping[str, Sequence[float]]] | None) -> "Normalization":
        """From `{inp: {sub: [..], div: [..]}, gt: {...}}`, one value or three each; InputError for anything else."""
        data_norm, made = {} if data_norm is None else data_norm, {}
        check_types(data_norm, {"inp": MAPPING, "gt": MAPPING}, "data_norm")
        check_keys(data_norm, ("inp", "gt"), "data_norm")
        for key, affine in data_norm.items():
            where = f"data_norm.{key}"
            check_types(affine, {"sub": NUMBERS, "div": NUMBERS}, where)
            check_keys(affine, ("sub", "div"), where)
            if any(len(values or ()) not in (1, 3) for values in affine.values()) or 0 in affine.get("div", []):
                raise InputError(f"{where}: sub and div need one or three numbers each, div not 0")
            made[key] = Affine(**{name: tuple(values) for name, values in affine.items()})
        return cls(**made)

    @classmethod
    def of(cls, sub: float, div: float) -> "Normalization":
        """(x - sub) / div of all channels, of inputs and outputs alike, such as a model's own."""
        affine = Affine((sub,), (div,))
        return cls(affine, affine)

    def to_config(self) -> dict[str, Any]:
        """The inverse of `from_config`."""
        return {key: {"sub": list(a.sub), "div": list(a.div)} for key, a in (("inp", self.inp), ("gt", self.gt))}
