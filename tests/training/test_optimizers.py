"""Optimisers and schedules by name, parameter groups, frozen parts."""

import pytest
import torch
from torch import nn

import models
from tests.conftest import SMALL_LMLIIF
from training.optimizers import Schedule, freeze, load_optimizer, make_optimizer, optimizers, orthogonal
from utils.errors import InputError


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return models.make(SMALL_LMLIIF)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.linspace(-1, 1, parameter.numel()).view_as(parameter)
    optimizer.step()


@pytest.mark.parametrize("name", sorted(optimizers.factories))
def test_every_optimiser_trains_and_goes_on_exactly(name, model) -> None:
    other = models.make(SMALL_LMLIIF)
    other.load_state_dict(model.state_dict())
    one, two = (make_optimizer(m, {"name": name, "args": {"lr": 1e-2}}) for m in (model, other))
    before = [value.clone() for value in model.state_dict().values()]
    for _ in range(3):
        step(model, one)
    step(other, two)
    again = make_optimizer(other, {"name": name, "args": {"lr": 1e-2}})
    load_optimizer(again, two.state_dict(), "file")
    for _ in range(2):
        step(other, again)
    values = zip(model.state_dict().values(), other.state_dict().values(), before, strict=True)
    assert all(torch.equal(value, resumed) for value, resumed, _ in values)
    assert any(not torch.equal(value, old) for value, old in zip(model.state_dict().values(), before, strict=True))


def test_names_are_those_of_pytorch_in_any_case(model) -> None:
    found = make_optimizer(model, {"name": "RAdam", "args": {"lr": 1e-3, "weight_decay": 0.1}})
    assert type(found) is torch.optim.RAdam
    assert found.defaults["weight_decay"] == 0.1
    for spec, words in (
        ({"name": "lbfgs", "args": {"lr": 1}}, "unknown optimizer 'lbfgs'"),
        ({"name": "rmsprop", "args": {"lr": 1, "alfa": 0.9}}, "did you mean 'alpha'"),
        ({"name": "nadam", "args": {"lr": 1, "betas": [0.9, 1.5]}}, "betas is"),
        ({"name": "asgd", "args": {"lr": 1, "t0": "a"}}, "t0 is 'a'; expected a number"),
        ({"name": "adamw", "args": {"lr": 1, "amsgrad": 7}}, "amsgrad is 7; expected true or false"),
        ({"name": "adam", "args": {"lr": 1, "eps": -1}}, "'adam' cannot be made from these arguments"),
        ({"name": "muon", "args": {"momentum": 0.9}}, "needs the argument 'lr'"),
        ({"args": {"lr": 1}}, "'name'"),
    ):
        with pytest.raises(InputError, match=words):
            make_optimizer(model, spec)


def test_muon_moves_matrices_as_that_of_pytorch() -> None:
    """A 1x1 convolution is a matrix; PyTorch's Newton-Schulz computes in bfloat16. Its step is divided by the mean of
    momentum, of which ours has the same."""
    layer, matrix = nn.Conv2d(24, 16, 1, bias=False), nn.Linear(24, 16, bias=False)
    matrix.weight.data = layer.weight.data.flatten(1).clone()
    ours = make_optimizer(layer, {"name": "muon", "args": {"lr": 0.1, "weight_decay": 0.2}})
    theirs = torch.optim.Muon(matrix.parameters(), 0.1, weight_decay=0.2)
    for seed in range(3):
        gradient = torch.randn(16, 24, generator=torch.Generator().manual_seed(seed))
        layer.weight.grad, matrix.weight.grad = gradient.view(16, 24, 1, 1), gradient.clone()
        ours.step()
        theirs.step()
    assert (layer.weight.flatten(1) - matrix.weight).abs().max() < 0.01
    values = torch.linalg.svdvals(orthogonal(torch.randn(40, 12, generator=torch.Generator().manual_seed(9))))
    assert 0.6 < values.min() < values.max() < 1.3


def test_muon_takes_hidden_convolutions_alone(model) -> None:
    optimizer = make_optimizer(model, {"name": "muon", "args": {"lr": 0.02, "adam_lr": 1e-3}})
    rates = {group["hidden"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {True: 0.02, False: 1e-3}
    (hidden,) = [group["params"] for group in optimizer.param_groups if group["hidden"]]
    assert {tuple(weight.shape[2:]) for weight in hidden} >= {(3, 3)}
    assert all(min(weight.shape[:2]) > 4 for weight in hidden)
    first = model.encoder.head[0].weight
    assert all(weight is not first for weight in hidden)


def test_parts_have_rates_of_their_own(model) -> None:
    optimizer = make_optimizer(model, {"name": "adam", "args": {"lr": 1.0}}, {"encoder": 0.1, "encoder.head": 0.5})
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected = 0.5 if name.startswith("encoder.head.") else 0.1 if name.startswith("encoder.") else 1.0
            assert rates[id(parameter)] == pytest.approx(expected), name
    with pytest.raises(InputError, match=r"no part 'encodr'; did you mean 'encoder'"):
        make_optimizer(model, {"name": "adam", "args": {"lr": 1.0}}, {"encodr": 0.1})


def test_frozen_parts_stay(model) -> None:
    freeze(model, ["encoder"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step(model, make_optimizer(model, {"name": "adam", "args": {"lr": 1.0}}))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name
    with pytest.raises(InputError, match="no part 'enc'"):
        freeze(model, ["enc"])


SCHEDULER = {"optimizer": {"name": "adam", "args": {"lr": 0.5}}, "epoch_max": 5}


def test_schedulers_of_pytorch_are_functions_of_the_step() -> None:
    """As PyTorch gives them one after the other, from any step on; rates in their arguments are rates."""
    spec = {"name": "CosineAnnealingWarmRestarts", "args": {"T_0": 3, "eta_min": 0.1}, "every": "step"}
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3, eta_min=0.1)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"] / 0.5)
        optimizer.step()
        theirs.step()
    schedule = Schedule({**SCHEDULER, "scheduler": spec}, 4)
    assert [schedule.factor(step) for step in range(8)] == pytest.approx(expected)
    assert [schedule.factor(step) for step in (6, 2, 7)] == pytest.approx([expected[step] for step in (6, 2, 7)])
    epochs = Schedule({**SCHEDULER, "scheduler": {"name": "steplr", "args": {"step_size": 2, "gamma": 0.5}}}, 4)
    assert [epochs.factor(step) for step in (0, 7, 8, 16)] == [1, 1, 0.5, 0.25]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"scheduler": {"name": "steplr", "args": {"step_siz": 2}}}, "did you mean 'step_size'"),
        ({"scheduler": {"name": "steplr"}}, "needs the argument 'step_size'"),
        (
            {"scheduler": {"name": "OneCycleLR", "args": {"max_lr": 1, "total_steps": 3}}},
            "'onecyclelr' ends after 4 of 5 steps",
        ),
        ({"scheduler": {"name": "steplr", "args": {"step_size": "2"}}}, "step_size is '2'; expected a number"),
        ({"scheduler": {"name": "lambdalr"}}, "unknown scheduler"),
        ({"scheduler": {"name": "steplr", "args": {"step_size": 2}, "every": "hour"}}, "expected epoch or step"),
        ({"scheduler": {"name": "steplr", "arg": {}}}, "did you mean 'args'"),
        ({"scheduler": {"name": "steplr"}, "cosine_lr": {}}, "exclude each other"),
        ({"multi_step_lr": {"milestone": [1]}}, "did you mean 'milestones'"),
        ({"multi_step_lr": {"gamma": 0.5}}, "milestones"),
    ],
)
def test_schedules_that_are_not_what_was_meant(config, words) -> None:
    with pytest.raises(InputError, match=words):
        Schedule({**SCHEDULER, **config})
