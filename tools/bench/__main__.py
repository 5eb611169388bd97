"""Time, memory and multiply-adds of models: the figures in docs/. See `python -m tools.bench --help`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import datasets
import models
from models.checkpoints.loading import load_upscaler
from models.cmsr.tables import check_controllable
from models.decoders import on_encoder
from pictures.formats import check_writable
from pictures.reading import list_pictures, read_rgb
from pictures.tensors import to_tensor
from tools.bench import compare as comparison
from tools.bench import costs
from tools.bench import measures as benchmarks
from tools.bench import plots as plotting
from tools.bench.control_curve import control_curve
from tools.bench.crops import crop
from tools.bench.docs_table import update_table
from tools.bench.loading import loading
from tools.bench.turning import turned_back
from utils import cli
from utils.config import load_config, require
from utils.files import atomic_file
from utils.geometry.sizes import output_size, scale_text
from utils.random_state import repeatable

BASELINE = "configs/train-lmf/train_edsr-baseline-lmliif.yaml"
LMF = tuple(f"configs/train-lmf/train_edsr-baseline-{name}.yaml" for name in ("lmliif", "lmlte", "lmciaosr"))
ENCODERS = tuple(f"configs/train-lmf/train_{name}-lmliif.yaml" for name in ("edsr-baseline", "rdn", "swinir"))
SHIPPED = "save/pretrained_models"
LERF = (f"{SHIPPED}/lerf-g", f"{SHIPPED}/lerf-l")
CROPPED = (f"{SHIPPED}/edsr-s_lm-liif.pth", LERF[0], "lanczos")
TURNED = (*LERF, f"{SHIPPED}/edsr-s_lm-liif.pth", "bilinear", "bicubic", "lanczos")
COMPARED = ("nearest", "catmull-rom", "lanczos", "lerf-l", "lerf-g", "s", "drawings-s", "photo-s")
SMALL = "configs/train-lmf/train_edsr-s-lmliif.yaml"


def train(arguments: Any) -> Mapping[str, Any]:
    """A training step; of a training config also samples a second of the whole train loop."""
    figures = benchmarks.train(arguments)
    return figures | loading(arguments) if arguments.model.endswith((".yaml", ".yml")) else figures


MEASURES = {
    "render": benchmarks.render,
    "lerf": benchmarks.lerf,
    "encode": benchmarks.encode,
    "precision": benchmarks.precision,
    "train": train,
    "end-to-end": benchmarks.end_to_end,
    "crop": crop,
    "memory": benchmarks.memory,
    "busy": lambda arguments: import_module("tools.bench.busy").busy(arguments),  # its process needs a POSIX system
    "web": lambda arguments: import_module("tools.bench.web").web(arguments),  # needs the packages of the page
}
COUNTED = ("configs/train-lmf/train_*.yaml", "configs/train-original/train_*.yaml")
REPORTS = tuple(f"docs/bench-{name}.json" for name in ("render", "end-to-end", "lerf", "encode", "train", "memory"))
CMSR_CURVES = (
    ("intensity", "window", (2e-6, 5e-6, 1e-5, 2e-5, 5e-5)),
    ("intensity", "pooled", (1e-7, 2e-7, 5e-7, 1e-6, 2e-6)),
    ("curvature", "pooled", (1e-7, 2e-7, 5e-7, 1e-6, 2e-6)),
)


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="tools.bench", description="Measure models on this machine. Compare ratios, not seconds, across machines."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_measures(commands)
    add_comparisons(commands)
    return parser.parse_args(argv)


def add_measures(commands: Any) -> None:
    """The commands of MEASURES: times and memory."""
    common = cli.Parser(add_help=False)
    common.add_argument("--threads", type=cli.count, default=torch.get_num_threads(), help="CPU threads")
    common.add_argument("--json", help="also write the figures to this file")
    measured = "a checkpoint, a filter, or a training config (random weights)"

    def add(name: str, description: str, size: str = "320x180", models: Sequence[str] = (), model: str = "") -> Any:
        command = commands.add_parser(name, parents=[common], help=description, description=description)
        if models:
            command.add_argument("--models", nargs="+", default=models, help=f"each {measured}")
        if model:
            command.add_argument("--model", default=model, help=measured)
        command.add_argument("--input", type=cli.size, default=size, metavar="WxH", help="input size in pixels")
        return command

    encode = add("encode", "encoding once and rendering several sizes, compared with separate calls", model=BASELINE)
    encode.add_argument("--scales", type=cli.scales, default="1.5,2,2.5,3,4", help="scales to render")
    render = add(
        "render", "rendering at several scales, compared with a matrix product of as many multiply-adds", models=LMF
    )
    render.add_argument("--scales", type=cli.scales, default="2,3x1.5,3.3,4,8", help="scales to render")
    render.add_argument("--plot", help="also draw time against output pixels to this picture (needs matplotlib)")
    precision = add("precision", "encoding in float32 and bfloat16, compared with matrix products", "96x64", ENCODERS)
    lerf = add("lerf", "LeRF's stages, a whole picture and a warp, compared with Pillow's bicubic resize", models=LERF)
    lerf.add_argument("--picture", default="load/samples/coffee.png", help="resized to the input size")
    whole = add("end-to-end", "a whole picture, compared with its encoder alone", model=BASELINE)
    part = add("crop", "a sixteenth of an output, compared with all of it", "1280x960", models=CROPPED)
    step = "a training step, compared with its encoder's; of a config also samples a second, by 0 to 2 data workers"
    train = add("train", step, "32x32", model=SMALL)
    train.add_argument("--batch", type=int, default=8, help="pictures per step")
    train.add_argument("--queries", type=int, default=1024, help="positions per picture")
    train.add_argument("--pictures", default="load/samples", help="folder to load from, by 0, 1 and 2 data workers")
    train.add_argument("--steps", type=cli.count, default=10, help="steps per round of each way of loading")
    beside = "encoders and whole pictures, 64x64 and at the input size, alone and beside a process that spins"
    busy = add("busy", beside, models=(BASELINE, LERF[0]))
    busy.add_argument("--scale", type=cli.count, default=4, help="of whole pictures")
    peak = "peak resident memory of upscaling one picture, in a process of its own"
    memory = add("memory", peak, "960x540", models=(BASELINE, LERF[0]))
    served = "the page's server: tiles, compared with one render of the same window"
    page = commands.add_parser("web", parents=[common], help=served, description=served)
    page.set_defaults(model=f"{SHIPPED}/edsr-s_lm-liif.pth")  # what the page shows first
    page.add_argument("--picture", default="load/samples/coffee.png", help="sent and looked at, in its own size")
    page.add_argument("--memory", type=cli.positive, default=1, metavar="GIB", help="the server's budget")
    for command, size in ((lerf, "1280x720"), (whole, "1280x720"), (part, "5120x3840"), (memory, "3840x2160")):
        command.add_argument("--size", type=cli.size, default=size, metavar="WxH", help="output size in pixels")
    for command in (encode, render, lerf, whole, part, memory, busy):
        cli.add_backend_option(command)
    for command in (encode, precision, render, lerf, whole, part, train, page, busy):
        command.add_argument(
            "--repeats", type=cli.count, default=5, help="rounds after a warm-up; the median is reported"
        )


def add_comparisons(commands: Any) -> None:
    """The other commands: what models cost by formula, what they lose, and the table in docs/benchmarks.md."""
    turn = commands.add_parser("turn", help="PSNR of the middle of pictures after turning them there and back")
    turn.add_argument("--models", nargs="+", default=TURNED, help="each a checkpoint, a folder of LUTs, or a filter")
    turn.add_argument("--pictures", default="load/samples", help="folder of pictures")
    turn.add_argument("--degrees", type=float, default=30, help="angle")
    cmsr = commands.add_parser(
        "cmsr", help="queries evaluated and PSNR lost by CMSR, for several ways of making scale tables"
    )
    cmsr.add_argument("--model", default=f"{SHIPPED}/edsr-s_lm-liif.pth", help="checkpoint of an LMF model")
    cmsr.add_argument("--config", default="configs/cmsr/init-train.yaml", help="pictures to make scale tables from")
    cmsr.add_argument("--pictures", default="load/samples", help="folder of HR test pictures")
    cmsr.add_argument("--scale", type=cli.count, default=8, help="target scale")
    cmsr.add_argument("--plot", help="also draw the curves to this picture (needs matplotlib)")
    cost = commands.add_parser("cost", help="parameters and multiply-adds of models, by formula")
    cost.add_argument("--configs", nargs="+", help="training configs (default: one row a config, and every decoder)")
    cost.add_argument("--input", type=cli.size, default="320x180", metavar="WxH", help="input size in pixels")
    cost.add_argument("--scales", type=cli.scales, default="2,4,6,8", help="scales to render")
    cost.add_argument("--plot", help="also draw decoder cost against scale to this picture (needs matplotlib)")
    side = commands.add_parser("compare", help="scores, times, memory and size of models, for docs/models.md")
    side.add_argument("--models", nargs="+", default=COMPARED, help="each a checkpoint, a folder of LUTs, or a filter")
    side.add_argument("--scales", type=cli.scales, default="2,3,4,6,8", help="scales to measure")
    side.add_argument("--picture", default="load/samples/coffee.png", help="resized to the input size, for times")
    side.add_argument("--input", type=cli.size, default="320x180", metavar="WxH", help="input size in pixels")
    side.add_argument("--size", type=cli.size, default="1280x720", metavar="WxH", help="output size in pixels")
    side.add_argument("--threads", type=cli.count, default=torch.get_num_threads(), help="CPU threads")
    side.add_argument("--repeats", type=cli.count, default=5, help="rounds after a warm-up; the fastest is reported")
    side.add_argument("--document", help="file with the two marks to put the table between")
    side.add_argument("--plot", help="also draw quality against time to this picture (needs matplotlib)")
    for command in (turn, cmsr, cost, side):
        command.add_argument("--json", help="also write the figures to this file")
    docs = commands.add_parser("docs", help="write the table of ratios from the JSON files of other commands")
    docs.add_argument("--document", default="docs/benchmarks.md", help="file with the two marks")
    docs.add_argument("--reports", nargs="+", default=REPORTS, help="JSON files in the order of the table")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.command in COMMANDS:
        COMMANDS[arguments.command](arguments)
        return
    if plot := vars(arguments).get("plot"):
        plotting.check_available()
        check_writable(plot)
    torch.set_num_threads(arguments.threads)
    figures = MEASURES[arguments.command](arguments)
    settings = {key: value for key, value in vars(arguments).items() if key not in ("json", "plot")}
    machine = benchmarks.machine()
    print(f"{vars(arguments).get('model', 'several models')}, {machine['cpu']}, {arguments.threads} threads")
    for name, figure in figures.items():
        print(f"{name:48} {figure:.4g}" if isinstance(figure, float) else f"{name:48} {figure}")
    report = {"settings": settings, "machine": machine, "figures": figures}
    write_json(arguments.json, report)
    if plot:
        height, width = arguments.input
        plotting.plot_times(plot, benchmarks.render_curves(arguments, figures), f"rendering, input {width}x{height}")
        print(f"wrote {plot}")


def write_json(path: str | None, report: Mapping[str, Any]) -> None:
    if path:
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(report, indent=1, default=dataclasses.asdict))
        print(f"wrote {path}")


def models_to_count(configs: Sequence[str] | None) -> dict[str, Mapping[str, Any]]:
    """{label: spec} of the models of training configs; without any, those of LMF and its originals, and each decoder
    that has no config, with its default arguments on EDSR-baseline."""
    paths = configs or [str(path) for pattern in COUNTED for path in sorted(Path().glob(pattern))]
    specs = {benchmarks.short_name(path): require(load_config(path), "model", path) for path in paths}
    if configs is None:
        encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
        configured = {spec["name"] for spec in specs.values()}
        lacking = [name for name in models.names("decoders") if name not in configured]
        specs |= {f"edsr-baseline-{name}": on_encoder(name, encoder) for name in lacking}
    return specs


def cost(arguments: Any) -> None:
    """Print, write and plot parameters and multiply-adds; no picture is computed, so any size takes seconds."""
    if arguments.plot:
        plotting.check_available()
        check_writable(arguments.plot)
    sizes = [output_size(arguments.input, scale) for scale in arguments.scales]
    labels = [scale_text(scale) for scale in arguments.scales]
    rows = {}
    for label, spec in models_to_count(arguments.configs).items():
        with torch.device("meta"):
            model = models.make(spec).eval()
        encoder, decoder = costs.parameter_counts(model)
        macs = [costs.decoder_macs(model, arguments.input, size) for size in sizes]
        rows[label] = {
            "model": spec["name"],
            "encoder_parameters": encoder,
            "decoder_parameters": decoder,
            "encoder_macs": costs.encoder_macs(model, arguments.input),
            "decoder_macs": dict(zip(labels, macs, strict=True)),
        }
    height, width = arguments.input
    print(f"parameters, and multiply-adds in units of 2^30, for an input of {width}x{height}")
    print(f"{'':28}{'parameters':>16}{'':14}{'multiply-adds':>10}")
    print(f"{'':28}{'encoder':>12}{'decoder':>12}{'encoder':>12}" + "".join(f"{'x' + label:>10}" for label in labels))
    for name, row in rows.items():
        cells = "".join(f"{macs / 2**30:>10.1f}" for macs in row["decoder_macs"].values())
        parameters = f"{row['encoder_parameters']:>12,}{row['decoder_parameters']:>12,}"
        print(f"{name:28}{parameters}{row['encoder_macs'] / 2**30:>12.1f}{cells}")
    write_json(arguments.json, {"input": f"{width}x{height}", "unit": 1, "models": rows})
    if arguments.plot:
        curves = {name: row["decoder_macs"] for name, row in rows.items() if any(row["decoder_macs"].values())}
        plotting.plot_costs(arguments.plot, curves, f"decoder cost, input {width}x{height}")
        print(f"wrote {arguments.plot}")


def docs(arguments: Any) -> None:
    """The table of ratios in the documentation."""
    update_table(Path(arguments.document), [Path(report) for report in arguments.reports])
    print(f"wrote {arguments.document}")


def turn(arguments: Any) -> None:
    """PSNR after resampling twice: models that sharpen return another picture than they were given."""
    pictures = {path.name: to_tensor(read_rgb(path)) for path in list_pictures(arguments.pictures)}
    figures = {}
    for name in arguments.models:
        upscaler = load_upscaler(name)
        scores = {file: turned_back(upscaler, picture, arguments.degrees) for file, picture in pictures.items()}
        figures[name] = scores | {"mean": sum(scores.values()) / len(scores)}
        print(f"{name:44} mean PSNR {figures[name]['mean']:.2f} dB")
    write_json(arguments.json, {"degrees": arguments.degrees, "pictures": arguments.pictures, "figures": figures})


def cmsr(arguments: Any) -> None:
    """Curves of PSNR lost over the share of queries: the published measure and rule, and ours."""
    if arguments.plot:
        plotting.check_available()
        check_writable(arguments.plot)
    upscaler = load_upscaler(arguments.model)
    check_controllable(upscaler, arguments.model)
    samples = datasets.make_wrapped(require(load_config(arguments.config), "dataset", arguments.config), "dataset")
    training = []
    for index in range(len(samples)):
        with repeatable(index):
            training.append(to_tensor(samples.pair(index)[0]))
    pictures = datasets.make({"name": "image-folder", "args": {"root_path": arguments.pictures}})
    pairs = datasets.make({"name": "sr-implicit-downsampled", "args": {"scale_min": arguments.scale}}, dataset=pictures)
    testing = [tuple(map(to_tensor, pairs.pair(index))) for index in range(len(pairs))]
    curves = {}
    for measure, rule, thresholds in CMSR_CURVES:
        name = f"{measure}, {rule}"
        curves[name] = control_curve(upscaler, training, testing, arguments.scale, measure, rule, thresholds)
        for point in curves[name]:
            print(
                f"{name:20} threshold {point.threshold:.1e}: {point.share:6.1%} of the queries, "
                f"PSNR lost {point.mean_loss:.4f} dB, at most {point.largest_loss:.4f} dB"
            )
    figures = {name: [dataclasses.asdict(point) for point in points] for name, points in curves.items()}
    write_json(arguments.json, {"model": arguments.model, "scale": arguments.scale, "curves": figures})
    if arguments.plot:
        plotting.plot_control_curves(arguments.plot, curves, f"CMSR at x{arguments.scale}, {arguments.pictures}")
        print(f"wrote {arguments.plot}")


def compare(arguments: Any) -> None:
    """Every model beside the others: scores, times, memory, size."""
    if arguments.plot:
        plotting.check_available()
        check_writable(arguments.plot)
    torch.set_num_threads(arguments.threads)
    rows = comparison.compare(arguments)
    print(comparison.table(rows, arguments.size, arguments.input))
    settings = {key: value for key, value in vars(arguments).items() if key not in ("json", "plot", "document")}
    write_json(arguments.json, {"settings": settings, "machine": benchmarks.machine(), "models": rows})
    if arguments.document:
        comparison.update_models(Path(arguments.document), rows, arguments.size, arguments.input)
        print(f"wrote {arguments.document}")
    if arguments.plot:
        scales = next(iter(rows.values())).scores["Set5"]
        comparison.plot(arguments.plot, rows, "Set5", "x4" if "x4" in scales else next(iter(scales)))
        print(f"wrote {arguments.plot}")


COMMANDS = {"cost": cost, "cmsr": cmsr, "turn": turn, "docs": docs, "compare": compare}

if __name__ == "__main__":
    cli.run(main)
