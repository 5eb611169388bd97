"""Plots of benchmark figures; needs matplotlib, which nothing else does."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tools.bench.control_curve import Point
from utils.errors import InputError
from utils.files import atomic_file


def check_available() -> None:
    """InputError when matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InputError("plots need matplotlib; run pip install matplotlib")


def plot_control_curves(path: str | Path, curves: Mapping[str, Sequence[Point]], title: str) -> None:
    """Draw {rule: points}: PSNR lost against share of queries evaluated."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot([100 * p.share for p in points], [max(p.mean_loss, 1e-4) for p in points], marker="o", label=name)
    axes.set(yscale="log", xlabel="queries evaluated, %", ylabel="PSNR lost to full rendering, dB (mean)", title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi=120)


def plot_costs(path: str | Path, curves: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Draw {model: {scale: multiply-adds}} with a logarithmic axis; models whose curves are equal share one."""
    from matplotlib.figure import Figure

    merged: dict[tuple, list[str]] = {}
    for name, curve in curves.items():
        merged.setdefault(tuple(curve.items()), []).append(name)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for curve, names in sorted(merged.items(), key=lambda item: -item[0][-1][1]):
        decoders = sorted({name.rpartition("baseline-")[2] or name for name in names}, key=len)
        scales, values = zip(*curve, strict=True)
        axes.plot([f"x{scale}" for scale in scales], [v / 2**30 for v in values], marker="o", label=decoders[0])
    axes.set(yscale="log", xlabel="scale", ylabel="multiply-adds / 2^30", title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi=120)


def plot_times(path: str | Path, curves: Mapping[str, Mapping[int, float]], title: str) -> None:
    """Draw {model: {output pixels: seconds}}, both axes logarithmic: straight lines of slope 1 are proportional."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=colormaps["tab20"].colors)
    for name, curve in sorted(curves.items(), key=lambda item: -max(item[1].values())):
        pixels, seconds = zip(*sorted(curve.items()), strict=True)
        axes.plot(pixels, seconds, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="output pixels", ylabel="seconds", title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi=120)
