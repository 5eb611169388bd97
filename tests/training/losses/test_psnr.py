"""The loss that is a PSNR: its value, and that items count by their own errors."""

import pytest
import torch

from training.losses import make_loss


def test_it_is_the_mean_of_the_items_psnr_and_balances_their_gradients() -> None:
    targets = torch.zeros(2, 50, 3)
    values = torch.stack([torch.full((50, 3), 0.1), torch.full((50, 3), 0.01)]).requires_grad_()
    loss = make_loss("psnr")(values, targets)
    expected = sum(10 * torch.log10(torch.tensor(error**2 + 1e-4)) for error in (0.1, 0.01)) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    large, small = values.grad.mean((1, 2))
    assert small > 4 * large  # MSE's would be ten times smaller instead


def test_flat_items_that_are_right_have_a_finite_gradient() -> None:
    values = torch.zeros(1, 9, 1).requires_grad_()
    make_loss("psnr")(values, torch.zeros(1, 9, 1)).backward()
    assert (values.grad == 0).all()
