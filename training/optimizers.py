"""Optimisers and learning-rate schedules by name, parameter groups, and frozen parts of a model."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from utils.config import POSITIVE, between, check, check_keys, require
from utils.errors import InputError, nearest_name
from utils.registry import Registry, arguments_of

Momentum = Annotated[float, between(0, 1)]
Rate = Annotated[float, between(0, 1e15)]  # 0 trains nothing, which shows what else changes
# Arguments by what they mean in every optimiser; others by their type, of which PyTorch says what is wrong.
MEANINGS = {
    "lr": Rate, "adam_lr": Rate, "momentum": Momentum, "betas": tuple[Momentum, Momentum],
    "weight_decay": Annotated[float, between(0, 1e6)], "fused": bool | None,
}  # fmt: skip
BY_TYPE = {"bool": bool, "int": float, "float": float}
INTERNAL = ("foreach", "maximize", "capturable", "differentiable", "last_epoch")

optimizers = Registry("optimizer")
schedulers = Registry("scheduler")


def _register(registry: Registry, cls: type) -> None:
    """Enter a class of torch.optim in a registry under its lower-case name; optimisers need their `lr`."""

    def make(**args: Any) -> Any:
        return cls(**args)

    make.__annotations__ = {}
    known = [p for p in inspect.signature(cls).parameters.values() if p.name not in INTERNAL]
    known = [p.replace(default=p.empty) if p.name == "lr" else p for p in known]
    make.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in known])
    for p in known:
        kind = p.annotation if p.default is p.empty else type(p.default)
        make.__annotations__[p.name] = MEANINGS.get(p.name, BY_TYPE.get(getattr(kind, "__name__", kind), Any))
    registry.register(cls.__name__.lower())(make)


class Muon(torch.optim.Adam):
    """Muon (Jordan 2024, kellerjordan.github.io/posts/muon) for hidden convolutions, Adam for all else.

    The momentum of a convolution, as a matrix (out, in * kh * kw), moves the weights after Newton-Schulz iterations
    have made its singular values about 1; `torch.optim.Muon` does the same for matrices alone. `lr` is that of the
    convolutions and `adam_lr` that of Adam. Groups with `hidden: True` hold the convolutions.
    """

    def __init__(
        self,
        params: list,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0,
        adam_lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ):
        groups = [{**group, "lr": lr if group["hidden"] else adam_lr} for group in params]
        super().__init__(groups, adam_lr, tuple(betas), eps)
        for group in self.param_groups:
            if group["hidden"]:
                group.update(momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["hidden"]]
            super().step()
        finally:
            self.param_groups = groups
        for group in (group for group in groups if group["hidden"]):
            for weight in (weight for weight in group["params"] if weight.grad is not None):
                state = self.state[weight]
                if not state:
                    state.update(step=torch.zeros(()), momentum_buffer=torch.zeros_like(weight))
                state["step"] += 1  # which Adam looks for in every state
                mean = state["momentum_buffer"]
                mean.lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(mean, group["momentum"]) if group["nesterov"] else mean
                matrix = orthogonal(update.flatten(1))
                rate = group["lr"] * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(matrix.view_as(weight), alpha=-rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix, about: five Newton-Schulz iterations with Jordan's coefficients bring the singular
    values of any matrix (m, n) to between 0.7 and 1.2."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.T if wide is not matrix else x


# Without closures, sparse gradients, and the Muon that takes no convolutions.
for _class in [vars(torch.optim)[name] for name in torch.optim.__all__] + [Muon]:
    _excluded = (torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.SparseAdam, getattr(torch.optim, "Muon", None))
    if isinstance(_class, type) and issubclass(_class, torch.optim.Optimizer) and _class not in _excluded:
        _register(optimizers, _class)
# Without those that take functions or other schedulers, or need the score of each epoch.
for _name in set(torch.optim.lr_scheduler.__all__) - {
    "LRScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler", "ReduceLROnPlateau",
}:  # fmt: skip
    _register(schedulers, getattr(torch.optim.lr_scheduler, _name))


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Let the parameters below the dotted names in `parts` stay as they are. InputError for a name without any."""
    for part in parts:
        for _, parameter in parameters_below(model, part, "freeze"):
            parameter.requires_grad_(False)


def parameters_below(model: nn.Module, part: str, where: str) -> list[tuple[str, nn.Parameter]]:
    """The parameters whose dotted names begin with `part`; InputError when there are none."""
    found = [(name, parameter) for name, parameter in model.named_parameters() if f"{name}.".startswith(f"{part}.")]
    if not found:
        known = [name for name, module in model.named_modules() if name and next(module.parameters(), None) is not None]
        raise InputError(f"{where}: the model has no part {part!r}; {nearest_name(part, known)}")
    return found


def make_optimizer(
    model: nn.Module, spec: Mapping[str, Any], factors: Mapping[str, float] | None = None, cuda: bool = False
) -> torch.optim.Optimizer:
    """`{name: adam, args: {lr: ...}}` over the model's trainable parameters: any optimiser of torch.optim by its name,
    or `muon`. `factors`: {dotted name of a part: factor of its learning rate}, of several that fit the longest.
    On `cuda` a fused implementation is taken where there is one."""
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise InputError("this model has no parameters to train")
    factors = dict(factors or {})
    for part, factor in factors.items():
        check(f"lr.{part}", factor, POSITIVE)
        parameters_below(model, part, "lr")
    spec = {**spec, "name": spec["name"].lower()} if isinstance(spec.get("name"), str) else spec
    muon, groups = spec.get("name") == "muon", {}
    for name, parameter in trainable.items():
        part = max((part for part in factors if f"{name}.".startswith(f"{part}.")), key=len, default="")
        # Of a convolution that neither sees pictures nor makes them
        hidden = muon and parameter.dim() == 4 and min(parameter.shape[:2]) > 4
        groups.setdefault((part, hidden), []).append(parameter)
    # One group as a plain list: so published checkpoints hold it
    args, kind = spec.get("args") or {}, optimizers.factories.get(str(spec.get("name")))
    if cuda and kind and "fused" in arguments_of(kind)[0]:
        spec = {**spec, "args": {"fused": True, **args}}
    params = [
        {"params": parameters, **({"hidden": hidden} if muon else {})} for (_, hidden), parameters in groups.items()
    ]
    optimizer = optimizers.make(spec, params=params)
    for group, (part, _) in zip(optimizer.param_groups, groups, strict=True):
        group["lr"] *= factors.get(part, 1)
    return optimizer


def load_optimizer(optimizer: torch.optim.Optimizer, state: Any, path: str | Path) -> None:
    """Load the `state` in the file at `path` but for the optimiser's own settings; the learning rate is set in each
    step. InputError when it is of another model or optimiser."""
    settings = [
        {key: value for key, value in group.items() if key not in ("params", "lr")} for group in optimizer.param_groups
    ]
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: its optimizer state does not fit ({error!r}); use the file as 'init'") from None
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


SCHEDULES = {
    "multi_step_lr": ("milestones", "gamma"),
    "cosine_lr": ("warmup_steps", "final_factor"),
    "scheduler": ("name", "args", "every"),
}


class Schedule:
    """The factor of the learning rates at a step, a pure function of the step, so that a resume cannot shift it.

    `multi_step_lr: {milestones: [epochs], gamma}` multiplies by gamma after each milestone; `cosine_lr: {warmup_steps,
    final_factor}` rises linearly and falls as half a cosine to `final_factor` at `epoch_max`; `scheduler: {name, args,
    every: epoch | step}` is one of torch.optim.lr_scheduler, followed to the end beforehand; neither: 1. InputError for
    misspelt keys and for two of them at once.
    """

    def __init__(self, config: Mapping[str, Any], steps_per_epoch: int = 1):
        for kind, keys in SCHEDULES.items():
            check_keys(config.get(kind) or {}, keys, kind)
        kinds = [kind for kind in SCHEDULES if config.get(kind)]
        if config.get("cosine_lr") == {}:  # with its defaults
            kinds.append("cosine_lr")
        if len(kinds) > 1:
            raise InputError(f"{kinds[0]} and {kinds[1]} exclude each other; remove one (set it to null)")
        self.config, self.steps_per_epoch = config, steps_per_epoch
        self.kind = kinds[0] if kinds else None
        if self.kind == "multi_step_lr":
            require(config["multi_step_lr"], "milestones", "multi_step_lr")
        if self.kind == "scheduler":
            if config["scheduler"].get("every", "epoch") not in ("epoch", "step"):
                raise InputError(f"scheduler.every is {config['scheduler']['every']!r}; expected epoch or step")
            by_step = config["scheduler"].get("every") == "step"
            self.steps_each = 1 if by_step else steps_per_epoch
            self.factors = _factors(config, config["epoch_max"] * (steps_per_epoch if by_step else 1))

    def factor(self, step: int) -> float:
        """Factor of the optimiser's learning rates at `step`, from 0."""
        if self.kind == "multi_step_lr":
            passed = sum(step // self.steps_per_epoch >= epoch for epoch in self.config[self.kind]["milestones"])
            return self.config[self.kind].get("gamma", 0.5) ** passed
        if self.kind == "scheduler":
            return self.factors[min(step // self.steps_each, len(self.factors) - 1)]
        if self.kind is None:
            return 1.0
        warmup, final = (self.config["cosine_lr"].get(key, 0) for key in ("warmup_steps", "final_factor"))
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, self.config["epoch_max"] * self.steps_per_epoch - warmup))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def _factors(config: Mapping[str, Any], count: int) -> list[float]:
    """The first `count` factors that the scheduler of a config gives, one after the other."""
    rate = (config["optimizer"].get("args") or {}).get("lr") or 1.0
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], rate, momentum=0.9)
    spec = {key: value for key, value in config["scheduler"].items() if key != "every"}
    spec = {**spec, "name": spec["name"].lower()} if isinstance(spec.get("name"), str) else spec
    scheduler = schedulers.make(spec, optimizer=optimizer)
    factors = []
    for number in range(count):
        try:
            if number:
                optimizer.step()
                scheduler.step()
        except (ValueError, TypeError, ArithmeticError) as error:
            raise InputError(f"scheduler '{spec['name']}' ends after {number} of {count} steps: {error}") from None
        factors.append(optimizer.param_groups[0]["lr"] / rate)
    return factors
