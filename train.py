"""Train a model: `python train.py --config configs/train-lmf/train_edsr-baseline-lmliif.yaml --name my-run`."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from tensorboardX import SummaryWriter
from torch.utils.data import DataLoader
from torchvision.utils import make_grid
from tqdm import tqdm

import datasets
import models
from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair, validate
from evaluation.metrics import Protocol, find_protocol, parse_eval_type
from models.checkpoints import loading as checkpoints
from models.normalization import Normalization
from models.upscaler import Upscaler
from utils import cli, runs, training
from utils.config import check_keys, check_types, load_config, require
from utils.devices import select_device
from utils.errors import InputError
from utils.images import to_tensor
from utils.kinds import MAPPING, NUMBER, NUMBERS, TEXT, whole
from utils.losses import make_loss
from utils.random_state import repeatable, seed_everything

KINDS = {
    "train_dataset": MAPPING, "val_dataset": MAPPING, "data_norm": MAPPING, "model": MAPPING, "optimizer": MAPPING,
    "optimizer.args": MAPPING, "multi_step_lr": MAPPING, "multi_step_lr.milestones": NUMBERS,
    "multi_step_lr.gamma": NUMBER, "cosine_lr": MAPPING, "cosine_lr.warmup_steps": whole(0),
    "cosine_lr.final_factor": NUMBER, "epoch_max": whole(1), "epoch_val": whole(1), "epoch_save": whole(1),
    "eval_bsize": whole(1), "eval_type": TEXT, "loss": TEXT, "precision": TEXT, "resume": TEXT, "init": TEXT,
    "seed": whole(0), "num_workers": whole(0),
}  # fmt: skip
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="train.py", description="Train the model of a config; writes save/NAME.")
    parser.add_argument("--config", required=True, help="YAML file, see configs/train-lmf")
    parser.add_argument("--name", help="name of the run (default: _ and the config's)")
    parser.add_argument("--tag", help="appended to the name")
    parser.add_argument("--save-root", default="save", help="folder of all runs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    parser.add_argument("--resume", action="store_true", help="continue the run of this name")
    parser.add_argument("--overwrite", action="store_true", help="delete the run of this name and start anew")
    parser.add_argument("--max-minutes", type=cli.positive, help="save and stop cleanly after so long (default: never)")
    cli.add_device_options(parser)
    return parser.parse_args(argv)


@dataclass
class Run:
    """A training run: what is trained on what, and how far it has come."""

    folder: Path
    config: dict[str, Any]
    upscaler: Upscaler
    optimizer: torch.optim.Optimizer
    base_rates: list[float]
    loader: DataLoader
    batches: training.EpochBatches
    val_samples: Any
    deadline: float
    step: int = 0
    best: float = -math.inf

    @property
    def done(self) -> bool:
        """Whether the current epoch is complete."""
        return self.step % len(self.batches) == 0

    @property
    def stopped(self) -> bool:
        return time.monotonic() > self.deadline

    def save(self, name: str) -> None:
        content = {
            "model": {**self.config["model"], "sd": self.upscaler.model.state_dict()},
            "optimizer": {**self.config["optimizer"], "sd": self.optimizer.state_dict()},
            "data_norm": self.upscaler.normalization.to_config(),
            "epoch": self.step // len(self.batches),
            "step": self.step,
            "steps_per_epoch": len(self.batches),
            "best": self.best,
        }
        checkpoints.save_checkpoint(self.folder / name, content)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    started = time.monotonic()
    config = load_config(arguments.config, arguments.set)
    check_keys(config, {kind.split(".")[0] for kind in KINDS}, arguments.config)
    check_types(config, KINDS, arguments.config)
    training.check_schedule(config)
    device, notice = select_device(arguments.device, arguments.gpu)
    folder = runs.run_folder(arguments.save_root, arguments.name or f"_{Path(arguments.config).stem}", arguments.tag)
    runs.check_run_folder(folder, arguments.resume, arguments.overwrite)
    deadline = started + 60 * (arguments.max_minutes or math.inf)
    run = prepare(config, arguments, folder, device, deadline)
    epoch_max = config["epoch_max"]
    if run.step >= epoch_max * len(run.batches):
        raise InputError(f"{folder} has done its {epoch_max} epochs; raise epoch_max to train on")

    runs.prepare_run_folder(folder, arguments.overwrite)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    log = runs.run_logger(folder)
    if notice:
        log.info(notice)
    parameters = sum(parameter.numel() for parameter in run.upscaler.model.parameters() if parameter.requires_grad)
    steps = f"{len(run.batches)} steps an epoch, {epoch_max} epochs"
    log.info(f"{config['model']['name']}: {parameters:,} parameters, {steps}, on {device}")
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for epoch in range(run.step // len(run.batches) + 1, epoch_max + 1):
            epoch_started = time.monotonic()
            loss = train_epoch(run, epoch)
            line = finish_epoch(run, epoch, loss, writer)
            log.info(f"{line}, {time.monotonic() - epoch_started:.0f} s")
            if run.stopped:
                log.info(f"stopped after {arguments.max_minutes:g} minutes at step {run.step}; --resume continues")
                break
    print(f"wrote {folder}/epoch-last.pth" + (f", best PSNR {run.best:.3f} dB" if run.best > -math.inf else ""))


def prepare(config: dict[str, Any], arguments: Any, folder: Path, device: torch.device, deadline: float) -> Run:
    """Everything that a run needs, checked before anything is written."""
    seed = config.get("seed", 0)
    samples = datasets.make_wrapped(require(config, "train_dataset", arguments.config), "train_dataset")
    batch_size = require(config["train_dataset"], "batch_size", "train_dataset")
    batches = training.EpochBatches(len(samples), batch_size, seed)
    samples.check_batches(batch_size)
    val_samples = None
    if config.get("val_dataset"):
        val_samples = datasets.make_wrapped(config["val_dataset"], "val_dataset")
        check_validation(val_samples, parse_eval_type(config.get("eval_type"))[0], config["val_dataset"])
    with repeatable():  # a mistake in the data should show now
        samples[0]
    make_loss(config.get("loss", "l1"))
    training.choose("precision", config.get("precision", "float32"), PRECISIONS)
    require(config, "epoch_max", arguments.config)

    seed_everything(seed)
    model = checkpoints.make_continuous(require(config, "model", arguments.config))
    upscaler = Upscaler(model, Normalization.for_model(model, config.get("data_norm")), device)
    optimizer = training.make_optimizer(model, require(config, "optimizer", arguments.config))
    workers = config.get("num_workers", 0)
    loader = DataLoader(samples, batch_sampler=batches, num_workers=workers, pin_memory=device.type == "cuda")
    base_rates = [group["lr"] for group in optimizer.param_groups]
    run = Run(folder, config, upscaler, optimizer, base_rates, loader, batches, val_samples, deadline)
    resume_from = folder / "epoch-last.pth" if arguments.resume else config.get("resume")
    if resume_from:
        resume(run, Path(resume_from))
    elif config.get("init"):
        models.load_parameters(model, checkpoints.load_checkpoint(config["init"])["model"].get("sd"))
    return run


def resume(run: Run, path: Path) -> None:
    """Take up the state that a run, ours or of the authors' programs, saved at `path`."""
    state = checkpoints.load_checkpoint(path)
    runs.check_same_run(path, state, run.config, run.upscaler.normalization.to_config(), len(run.batches))
    models.load_parameters(run.upscaler.model, state["model"].get("sd"))
    try:
        run.optimizer.load_state_dict(state["optimizer"]["sd"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its optimizer state does not fit ({error}); use the file as 'init'") from None
    run.step = state.get("step", state["epoch"] * len(run.batches))
    run.best = state.get("best", -math.inf)


def train_epoch(run: Run, epoch: int) -> float:
    """Train to the end of `epoch`, or of the time: the mean loss."""
    config, model, norm = run.config, run.upscaler.model.train(), run.upscaler.normalization
    device, precision = run.upscaler.device, PRECISIONS[config.get("precision", "float32")]
    loss_function = make_loss(config.get("loss", "l1"))
    seed_everything(config.get("seed", 0), epoch)
    run.batches.epoch, run.batches.first = epoch, run.step % len(run.batches)
    losses = []
    remaining = len(run.batches) - run.batches.first
    for batch in tqdm(run.loader, desc=f"epoch {epoch}", total=remaining, leave=False, disable=None):
        batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        factor = training.learning_rate_factor(run.step, len(run.batches), config)
        for group, base_rate in zip(run.optimizer.param_groups, run.base_rates, strict=True):
            group["lr"] = base_rate * factor
        inp = norm.inp.apply(batch["inp"]).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            values = model(inp, batch["coord"], batch["cell"])
        loss = loss_function(values.float(), norm.gt.apply(batch["gt"], channels_last=True))
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        losses.append(loss.detach())
        run.step += 1
        if run.stopped:
            break
    model.eval()
    return torch.stack(losses).mean().item()


def finish_epoch(run: Run, epoch: int, loss: float, writer: SummaryWriter) -> str:
    """Save, validate and report; the line for the log."""
    run.save("epoch-last.pth")
    rate = run.optimizer.param_groups[0]["lr"]
    writer.add_scalar("loss/train", loss, run.step)
    writer.add_scalar("lr", rate, run.step)
    line = f"epoch {epoch}/{run.config['epoch_max']} step {run.step}: lr {rate:.3g}, loss {loss:.5f}"
    if run.val_samples is not None and (epoch % (run.config.get("epoch_val") or 1) == 0 or not run.done):
        protocol, _ = parse_eval_type(run.config.get("eval_type"))
        batch_size, queries = run.config["val_dataset"].get("batch_size", 1), run.config.get("eval_bsize")
        score = validate(run.upscaler, run.val_samples, protocol, batch_size, queries)
        writer.add_scalar("psnr/val", score, run.step)
        writer.add_image("validation", validation_picture(run.upscaler, run.val_samples), run.step)
        line += f", val PSNR {score:.3f} dB"
        if score > run.best:
            run.best = score
            run.save("epoch-best.pth")
            run.save("epoch-last.pth")
    if run.config.get("epoch_save") and epoch % run.config["epoch_save"] == 0 and run.done:
        run.save(f"epoch-{epoch}.pth")
    writer.flush()
    return line


def validation_picture(upscaler: Upscaler, samples: ImplicitDataset) -> torch.Tensor:
    """The first validation item side by side: input (nearest), output, target."""
    with repeatable():
        lr, hr = map(to_tensor, samples.pair(0))
    nearest = Upscaler(models.make({"name": "nearest"}))
    pictures = [measure_pair(u, lr, hr, find_protocol("rgb"))[1] for u in (nearest, upscaler)]
    return make_grid([*pictures, hr])


if __name__ == "__main__":
    cli.run(main)


def check_validation(samples: ImplicitDataset, protocol: Protocol, spec: Mapping[str, Any]) -> None:
    """InputError for a validation set (`spec` in the config) that is empty, broken, or does not fit the protocol."""
    if len(samples) == 0:
        raise InputError("val_dataset is empty; remove it or give it pictures")
    if samples.sample_q is not None and protocol.name != "rgb":
        raise InputError(
            f"eval_type '{protocol.name}' needs whole pictures; remove sample_q and inp_size from val_dataset"
        )
    if samples.sample_q is not None:
        samples.check_batches(spec.get("batch_size", 1))
    with repeatable():
        samples[0]
