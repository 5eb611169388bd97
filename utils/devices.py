"""Where to compute."""

import torch

from utils.errors import InputError
from utils.processes import launched, local_count, local_rank


def select_device(device: str = "auto", gpu: str | None = None) -> tuple[torch.device, str | None]:
    """The device that `--device` (auto, cpu, cuda, cuda:N, mps) or the published programs' `--gpu` means, and a notice.

    `--gpu N` asks for a GPU if there is one; without one the notice says that the CPU is used. A `--device` that is
    not there is an InputError. Of several processes on a machine each gets a GPU of its own: that of its number, or in
    its place in `--gpu 0,2,3`.
    """
    if launched() > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        return _own_gpu(gpu), None
    if local_count() > 1 and device.startswith("cuda:"):
        raise InputError(f"--device {device}: each process of torchrun takes a GPU of its own; give --device cuda")
    if gpu is not None and device == "auto":
        number = gpu.split(",")[0].strip()
        if not number.isdigit():
            raise InputError(f"--gpu {gpu}: expected the number of a GPU, such as 0")
        if int(number) < torch.cuda.device_count():
            return torch.device("cuda", int(number)), None
        if torch.backends.mps.is_available():
            return torch.device("mps"), None
        return torch.device("cpu"), f"--gpu {gpu}: no such GPU on this machine, using the CPU"
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), None
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu"), None
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(f"--device {device}: expected auto, cpu, cuda, cuda:N or mps") from None
    if chosen.type == "cpu":
        return chosen, None
    if chosen.type == "cuda":
        if (chosen.index or 0) < torch.cuda.device_count():
            return chosen, None
        raise InputError(
            f"--device {device}: this machine has {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    if chosen.type == "mps" and torch.backends.mps.is_available():
        return chosen, None
    raise InputError(f"--device {device} is not available on this machine; use --device auto")


def _own_gpu(gpu: str | None) -> torch.device:
    """The GPU of this process, which becomes its default one; InputError where there are fewer than processes."""
    there = [str(number) for number in range(torch.cuda.device_count())]
    numbers = there if gpu is None else [number.strip() for number in gpu.split(",")]
    usable = [number for number in numbers if number in there]
    if usable != numbers or local_rank() >= len(usable):
        needed = f"--gpu {gpu}: " if gpu else ""
        raise InputError(
            f"{needed}torchrun has started more than {local_rank()} processes here, and {len(usable)} such GPUs are "
            f"there; use --nproc-per-node {max(1, len(usable))}, or --device cpu"
        )
    device = torch.device("cuda", int(usable[local_rank()]))
    torch.cuda.set_device(device)
    return device
