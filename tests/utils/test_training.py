"""Learning rates, sample order, optimisers."""

from itertools import pairwise

import pytest
import torch

from utils.errors import InputError
from utils.training import EpochBatches, check_schedule, learning_rate_factor, make_optimizer


def test_halving_happens_at_the_milestones() -> None:
    config = {"multi_step_lr": {"milestones": [2, 3], "gamma": 0.5}, "epoch_max": 4}
    assert [learning_rate_factor(step, 10, config) for step in (0, 19, 20, 29, 30, 39)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_cosine_warms_up_and_ends_at_its_floor() -> None:
    config = {"cosine_lr": {"warmup_steps": 4, "final_factor": 0.1}, "epoch_max": 2}
    factors = [learning_rate_factor(step, 12, config) for step in range(25)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1]
    assert factors[14] == pytest.approx(0.55)
    assert factors[24] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(factors[4:]))


def test_order_is_repeatable_and_can_be_continued() -> None:
    batches = EpochBatches(23, 4, seed=1)
    batches.epoch = 3
    whole = list(batches)
    assert len(whole) == len(batches) == 5
    assert len({index for batch in whole for index in batch}) == 20
    batches.first = 2
    assert list(batches) == whole[2:]
    batches.first, batches.epoch = 0, 4
    assert list(batches) != whole
    with pytest.raises(InputError, match="batch"):
        EpochBatches(3, 4, seed=1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "adm", "args": {"lr": 1}}, "did you mean 'adam'"),
        ({"name": "adam", "args": {"learning_rate": 1}}, "learning_rate"),
        ({"name": "sgd", "arg": {}}, "did you mean 'args'"),
    ],
)
def test_wrong_optimisers(spec, words) -> None:
    with pytest.raises(InputError, match=words):
        make_optimizer(torch.nn.Linear(1, 1), spec)


def test_two_schedules_exclude_each_other() -> None:
    with pytest.raises(InputError, match="exclude"):
        check_schedule({"multi_step_lr": {"milestones": [1]}, "cosine_lr": {}})
    with pytest.raises(InputError, match="did you mean 'milestones'"):
        check_schedule({"multi_step_lr": {"milestone": [1]}})
