"""LeRF's LUT stages on the CPU (lerf.cpp): contiguous tensors in, tensors out; ValueError for others."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from models.native.calls import Library, address, check_shape

ENTRIES = 17**4
LUT_BYTES = {1: 17**3 * 16 * 4, 3: 17**3 * 16 * 16}  # of a LUT of 1 or 3 values, laid out


def to_levels(library: Library, values: Tensor) -> tuple[Tensor, bool]:
    """Values in [0, 1], float32, as grey levels 0..255, uint8: rounded half to even, clipped, NaN as 0; and whether a
    value is NaN."""
    levels, nan = torch.empty_like(values, dtype=torch.uint8), torch.empty(1, dtype=torch.int32, device="cpu")
    library.call("lerf_levels", values, values.numel(), levels, nan)
    return levels, bool(nan)


def write_values(library: Library, levels: Tensor, values: Tensor) -> None:
    """Write grey levels, uint8, divided by 255 into `values`, float32 of the same shape."""
    check_shape("values", values, levels.shape)
    library.call("lerf_values", levels, levels.numel(), values)


def add_rests(library: Library, values: Tensor, to: Tensor) -> None:
    """Add `models.lerf.stages.between_levels` of `values`, float32, to `to`, float32 of the same shape."""
    check_shape("the sum", to, values.shape)
    library.call("lerf_add_rests", values, values.numel(), to)


def lay_out(library: Library, tables: Sequence[Tensor]) -> Tensor:
    """The LUTs of a stage, each (83521, K) float32, K 1 or 3, rounded to integers in -127..127, as `table_stage` reads
    them: (LUTs, bytes) uint8. ValueError for NaN in a LUT."""
    values = tables[0].shape[-1]
    for table in tables:
        check_shape("a LUT", table, (ENTRIES, values))
    entries = torch.empty(len(tables), LUT_BYTES.get(values, 0), dtype=torch.uint8, device="cpu")
    addresses = (ctypes.c_void_p * len(tables))(*(address(table, torch.float32) for table in tables))
    library.call("lerf_entries", addresses, len(tables), values, entries, entries.shape[1], torch.get_num_threads())
    return entries


def table_stage(
    library: Library,
    levels: Tensor,
    entries: Tensor,
    offsets: Sequence[Sequence[tuple[int, int]]],
    divisor: float,
    offset: float,
) -> Tensor:
    """Output of a stage's LUTs for the four pixels around each pixel, by simplex interpolation: the sum, exact in
    integers, / `divisor` + `offset`, rounded half to even and clipped to 0..255, (K, N, h, w) uint8.

    `levels` (N, h, w) uint8, border replicated; `entries`, the LUTs, from `lay_out`. `offsets` are (dy, dx) of the four
    pixels of each pattern; every LUT serves as many patterns, one after another. A LUT is also read at the same offsets
    turned by 180 degrees: seen from the last pixel they are the four in reverse order. ValueError for a picture without
    pixels, and LUTs that do not fit the patterns.
    """
    check_shape("a picture", levels, (None, None, None))
    size = entries[0].numel()
    values = next((values for values, expected in LUT_BYTES.items() if size == expected), 0)
    places = torch.tensor(offsets, dtype=torch.int32, device="cpu")  # (units, 4, 2)
    check_shape("patterns", places, (None, 4, 2))
    out = levels.new_empty(values, *levels.shape)
    luts = entries, size, len(entries), places, len(offsets), values
    library.call("lerf_stage", *luts, levels, *levels.shape, divisor, offset, out, torch.get_num_threads())
    return out
