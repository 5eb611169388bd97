"""Train a model: `python train.py --config configs/train-lmf/train_edsr-baseline-lmliif.yaml --name my-run`."""

import time
from collections.abc import Sequence
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
from utils import checkpoints, cli, training
from utils.config import check_keys, load_config, require
from utils.devices import select_device
from utils.errors import InputError
from utils.evaluation import check_validation, measure_pair, repeatable, validate
from utils.images import to_tensor
from utils.metrics import parse_eval_type
from utils.normalization import Normalization
from utils.upscaler import Upscaler

KEYS = (
    "train_dataset", "val_dataset", "data_norm", "model", "optimizer", "loss", "epoch_max", "multi_step_lr",
    "cosine_lr", "epoch_val", "epoch_save", "resume", "init", "eval_type", "eval_bsize", "seed", "num_workers",
    "precision",
)  # fmt: skip
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="train.py", description="Train the model of a config; writes save/NAME.")
    parser.add_argument("--config", required=True, help="YAML file, see configs/train-lmf")
    parser.add_argument("--name", help="name of the run (default: the config's)")
    parser.add_argument("--tag", help="appended to the name")
    parser.add_argument("--save-root", default="save", help="folder of all runs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    parser.add_argument("--resume", action="store_true", help="continue the run of this name")
    parser.add_argument("--overwrite", action="store_true", help="delete the run of this name and start anew")
    parser.add_argument("--max-minutes", type=float, help="save and stop cleanly after so long")
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    arguments = parse_arguments(argv)
    config = load_config(arguments.config, arguments.set)
    check_keys(config, KEYS, arguments.config)
    training.check_schedule(config)
    device, notice = select_device(arguments.device, arguments.gpu)
    folder = Path(arguments.save_root) / (arguments.name or f"_{Path(arguments.config).stem}")
    if arguments.tag:
        folder = folder.with_name(f"{folder.name}_{arguments.tag}")

    samples = datasets.make_wrapped(require(config, "train_dataset", arguments.config), "train_dataset")
    val_spec = config.get("val_dataset")
    val_samples = datasets.make_wrapped(val_spec, "val_dataset") if val_spec else None
    protocol, _ = parse_eval_type(config.get("eval_type"))
    if val_samples:
        check_validation(val_samples, protocol)
    normalization = Normalization.from_config(config.get("data_norm"))
    loss_function = training.choose("loss", config.get("loss", "l1"), training.LOSSES)
    precision = training.choose("precision", config.get("precision", "float32"), PRECISIONS)
    epoch_max = require(config, "epoch_max", arguments.config)
    seed = config.get("seed", 0)

    training.seed_everything(seed)
    spec = require(config, "model", arguments.config)
    model = models.make(spec)
    optimizer = training.make_optimizer(model, require(config, "optimizer", arguments.config))
    base_rates = [group["lr"] for group in optimizer.param_groups]
    batches = training.EpochBatches(len(samples), require(config["train_dataset"], "batch_size", "train_dataset"), seed)
    loader = DataLoader(
        samples, batch_sampler=batches, num_workers=config.get("num_workers", 0), pin_memory=device.type == "cuda"
    )

    training.check_run_folder(folder, arguments.resume, arguments.overwrite)
    step, best = 0, float("-inf")
    resume_from = folder / "epoch-last.pth" if arguments.resume else config.get("resume")
    if resume_from:
        step, best = resume(resume_from, spec, model, optimizer)
    elif config.get("init"):
        models.load_parameters(model, checkpoints.load_checkpoint(config["init"])["model"]["sd"])
    upscaler = Upscaler(model, normalization, device)

    training.prepare_run_folder(folder, arguments.overwrite)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    log = training.run_logger(folder)
    if notice:
        log.info(notice)
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    log.info(
        f"{spec['name']}: {parameters:,} parameters, {len(batches)} steps an epoch, {epoch_max} epochs, on {device}"
    )
    writer = SummaryWriter(str(folder / "tensorboard"))

    def save(name: str) -> None:
        checkpoints.save_checkpoint(
            folder / name,
            {
                "model": {**spec, "sd": model.state_dict()},
                "optimizer": {**config["optimizer"], "sd": optimizer.state_dict()},
                "epoch": step // len(batches),
                "step": step,
                "best": best,
                "data_norm": normalization.to_config(),
            },
        )

    for epoch in range(step // len(batches) + 1, epoch_max + 1):
        training.seed_everything(seed, epoch)
        batches.epoch, batches.first = epoch, step % len(batches)
        losses, epoch_started = [], time.monotonic()
        model.train()
        for batch in tqdm(loader, desc=f"epoch {epoch}", total=len(batches) - batches.first, leave=False, disable=None):
            batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
            factor = training.learning_rate_factor(step, len(batches), config)
            for group, base_rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = base_rate * factor
            inp = normalization.inp.apply(batch["inp"]).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                values = model(inp, batch["coord"], batch["cell"])
            loss = loss_function(values.float(), normalization.gt.apply(batch["gt"], channels_last=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            step += 1
            if arguments.max_minutes and time.monotonic() - started > 60 * arguments.max_minutes:
                break

        model.eval()
        rate, mean_loss = optimizer.param_groups[0]["lr"], torch.stack(losses).mean().item()
        line = f"epoch {epoch}/{epoch_max} step {step}: lr {rate:.3g}, loss {mean_loss:.5f}"
        writer.add_scalars("loss", {"train": mean_loss}, step)
        writer.add_scalar("lr", rate, step)
        if val_samples and (epoch % (config.get("epoch_val") or 1) == 0 or step % len(batches)):
            score = validate(upscaler, val_samples, protocol, val_spec.get("batch_size", 1), config.get("eval_bsize"))
            writer.add_scalars("psnr", {"val": score}, step)
            writer.add_image("validation", validation_picture(upscaler, val_samples), step)
            line += f", val PSNR {score:.3f} dB"
            if score > best:
                best = score
                save("epoch-best.pth")
        save("epoch-last.pth")
        if config.get("epoch_save") and epoch % config["epoch_save"] == 0 and step % len(batches) == 0:
            save(f"epoch-{epoch}.pth")
        log.info(f"{line}, {time.monotonic() - epoch_started:.0f} s")
        writer.flush()
        if arguments.max_minutes and time.monotonic() - started > 60 * arguments.max_minutes:
            log.info(f"stopped after {arguments.max_minutes:g} minutes at step {step}; --resume continues")
            break
    writer.close()
    print(f"wrote {folder}/epoch-last.pth" + (f" and epoch-best.pth (PSNR {best:.3f} dB)" if val_samples else ""))


def resume(path: Path, spec: dict, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Load the state of a run into `model` and `optimizer`: the step it had reached and its best score."""
    state = checkpoints.load_checkpoint(path)
    if "step" not in state or "optimizer" not in state:
        raise InputError(f"{path} holds no training state; use it as 'init' to start from its weights")
    if state["model"]["name"] != spec["name"]:
        raise InputError(
            f"{path} is a run of '{state['model']['name']}', the config trains '{spec['name']}'; use another --name"
        )
    models.load_parameters(model, state["model"]["sd"])
    optimizer.load_state_dict(state["optimizer"]["sd"])
    return state["step"], state["best"]


def validation_picture(upscaler: Upscaler, samples: datasets.implicit.ImplicitDataset) -> torch.Tensor:
    """The first validation item side by side: input (nearest), output, target."""
    with repeatable():
        lr, hr = map(to_tensor, samples.pair(0))
    _, picture = measure_pair(upscaler, lr, hr, parse_eval_type(None)[0])
    enlarged = torch.nn.functional.interpolate(lr[None], picture.shape[-2:], mode="nearest")[0]
    return make_grid([enlarged, picture, hr])


if __name__ == "__main__":
    cli.run(main)
