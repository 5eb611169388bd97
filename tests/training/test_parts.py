"""Learning rates, sample order, optimisers, losses, averages."""

import math
import random
from itertools import pairwise

import pytest
import torch

from training.losses import make_loss
from training.optimizers import Schedule
from training.parts import EpochBatches, SeededItems, average, batch_parts, check_finite, one_ahead
from utils.errors import InputError
from utils.processes import Stopped


def test_halving_happens_at_the_milestones() -> None:
    config = {"multi_step_lr": {"milestones": [2, 3], "gamma": 0.5}, "epoch_max": 4}
    assert [Schedule(config, 10).factor(step) for step in (0, 19, 20, 29, 30, 39)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_cosine_warms_up_and_ends_at_its_floor() -> None:
    config = {"cosine_lr": {"warmup_steps": 4, "final_factor": 0.1}, "epoch_max": 2}
    factors = [Schedule(config, 12).factor(step) for step in range(25)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1]
    assert factors[14] == pytest.approx(0.55)
    assert factors[24] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(factors[4:]))
    defaults = Schedule({"cosine_lr": {}, "epoch_max": 2}, 12)
    assert [defaults.factor(step) for step in (0, 12, 24)] == pytest.approx([1, 0.5, 0])


def test_order_is_repeatable_and_can_be_continued() -> None:
    batches = EpochBatches(23, 4, seed=1)
    batches.epoch = 3
    whole = list(batches)
    assert len(whole) == len(batches) == 5
    assert len({index for batch in whole for index in batch}) == 20
    assert [[step for _, _, step in batch] for batch in whole] == [[step] * 4 for step in range(10, 15)]
    batches.first = 2
    assert list(batches) == whole[2:]
    batches.first, batches.epoch = 0, 4
    assert list(batches) != whole
    with pytest.raises(InputError, match="batch"):
        EpochBatches(3, 4, seed=1)


def test_chroma_corrects_hues_where_brightness_errs_more() -> None:
    targets = torch.full((1, 1, 3), 0.5)
    assert make_loss("chroma")(targets - 0.1, targets).item() == pytest.approx(0, abs=1e-6), "brightness alone"

    values = (targets - torch.tensor([0.4, 0.4, 0.2])).requires_grad_()
    make_loss({"l1": 1, "chroma": 0.5})(values, targets).backward()
    red, green, blue = values.grad.flatten().tolist()
    assert red == green < blue < 0, "all channels become brighter, blue less so"


def test_averages_follow_fast_at_first_and_slowly_later() -> None:
    mean, model = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for step, share in ((0, 0.9), (10**6, 0.01)):
        torch.nn.init.zeros_(mean.weight)
        torch.nn.init.ones_(model.weight)
        average(mean, model, decay=0.99, step=step)
        assert mean.weight.item() == pytest.approx(share)


def test_items_draw_by_seed_epoch_and_index() -> None:
    class Draws:
        def __getitem__(self, index: int) -> tuple[float, float]:
            return random.random(), torch.rand(()).item()

    def draws(seed: int, *key: int) -> tuple[float, float]:
        return SeededItems(Draws(), seed)[(*key, 0)]

    state = torch.get_rng_state()
    first = draws(1, 2, 3)
    random.random()
    assert draws(1, 2, 3) == first
    assert torch.equal(torch.get_rng_state(), state)
    others = [draws(0, 2, 3), draws(1, 0, 3), draws(1, 2, 0), draws(2, 1, 3)]
    assert len({first, *others}) == 5
    assert len({value for draw in (first, *others) for value in draw}) == 10


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_stop_a_training(bad) -> None:
    good = torch.ones(3)
    check_finite([1e30], [good, good * 3e38], 1)
    for losses, weights, words in (
        ([1.0, bad, 1.0], good, "the loss of step 8 is"),
        ([1.0], torch.tensor([1, -bad, 1]), "weight"),
    ):
        with pytest.raises(Stopped, match=words) as stopped:
            check_finite(losses, [good, weights], 9)
        assert stopped.value.status == 1


def test_losses_take_arguments() -> None:
    """The eps of Charbonnier is that of its square root, at 0 and far from it."""
    values = torch.tensor([[[0.0, 3.0, 0.0]]])
    for eps, expected in ((4.0, (4 + 5 + 4) / 3), (1e-6, 1.0)):
        found = make_loss({"charbonnier": {"weight": 2, "eps": eps}})(values, torch.zeros(1, 1, 3))
        assert found.item() == pytest.approx(2 * expected, abs=1e-5)
    assert make_loss("charbonnier")(values[..., :1], torch.zeros(1, 1, 1)).item() == pytest.approx(1e-3)
    assert make_loss({"mse": {}, "l1": {"weight": 0.5}})(values, torch.zeros(1, 1, 3)).item() == pytest.approx(3.5)
    for spec, words in (
        ({"charbonnier": {"esp": 1}}, "did you mean 'eps'"),
        ({"charbonnier": {"eps": 0}}, "eps is 0"),
        ({"l1": {"weight": 0}}, r"loss\.l1 is 0"),
        ({"l1": "much"}, r"loss\.l1 is 'much'"),
        ({}, "loss is empty"),
    ):
        with pytest.raises(InputError, match=words):
            make_loss(spec)


@pytest.mark.parametrize(("items", "count", "sizes"), [(4, 3, [2, 1, 1]), (5, 3, [2, 2, 1]), (2, 3, [1, 1])])
def test_batches_are_divided_evenly(items, count, sizes) -> None:
    parts = list(batch_parts({"inp": torch.arange(items), "gt": torch.arange(items) + 10}, count))
    assert [len(part["inp"]) for part in parts] == sizes
    assert torch.cat([part["inp"] for part in parts]).tolist() == list(range(items))
    assert all(torch.equal(part["gt"], part["inp"] + 10) for part in parts)


def test_one_item_is_asked_for_ahead() -> None:
    asked = []

    def items():
        for number in range(3):
            asked.append(number)
            yield number

    seen = [(number, list(asked)) for number in one_ahead(items())]
    assert seen == [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2])]
    assert list(one_ahead([])) == []


def test_the_loss_in_db_is_the_mean_of_the_items_psnr_and_balances_their_gradients() -> None:
    targets = torch.zeros(2, 50, 3)
    values = torch.stack([torch.full((50, 3), 0.1), torch.full((50, 3), 0.01)]).requires_grad_()
    loss = make_loss("psnr")(values, targets)
    expected = sum(10 * torch.log10(torch.tensor(error**2 + 1e-4)) for error in (0.1, 0.01)) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    large, small = values.grad.mean((1, 2))
    assert small > 4 * large  # MSE's would be ten times smaller instead


def test_flat_items_that_are_right_have_a_finite_gradient_in_db() -> None:
    values = torch.zeros(1, 9, 1).requires_grad_()
    make_loss("psnr")(values, torch.zeros(1, 9, 1)).backward()
    assert (values.grad == 0).all()
