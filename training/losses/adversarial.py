"""A loss that a discriminator of patches gives, which trains beside the model."""

from itertools import pairwise
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.losses import register
from training.losses.windows import as_pictures, check_window
from utils import processes
from utils.config import Count, between, whole

CHANNELS = 3
Rate = Annotated[float, between(0, 1e15)]


@register("adversarial")
class Adversarial(nn.Module):
    """-log D(values), where D tells patches of targets from patches of the model's output (Isola et al. 2017, section
    3.2.2, PatchGAN), by logits and in the mean over patches.

    `width`: features of the discriminator's first layer. `lr`: its learning rate, of Adam with betas (0.9, 0.99).
    `start`: step from which on the model gets its gradient; the discriminator trains from the first.
    """

    def __init__(
        self, window: tuple[int, int], width: Count = 32, lr: Rate = 1e-4, start: Annotated[int, whole(0)] = 0
    ):
        super().__init__()
        check_window("adversarial", window, 16)
        self.window = window
        self.start = start
        widths = [CHANNELS, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.discriminator = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr, (0.9, 0.99))
        self.steps = 0
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        """The loss for the model; what it is given waits for the discriminator's own `train_step`."""
        made, real = (as_pictures(tensor, self.window) for tensor in (values, targets))
        self.seen.append((made.detach(), real.detach()))
        if self.steps < self.start:
            return 0 * made.sum()
        self.discriminator.requires_grad_(False)
        loss = F.softplus(-self.discriminator(made)).mean()
        self.discriminator.requires_grad_(True)
        return loss

    def train_step(self) -> None:
        """A step of the discriminator on all parts of a batch, by the mean gradient of all processes."""
        made, real = map(torch.cat, zip(*self.seen, strict=True))
        self.seen = []
        self.optimizer.zero_grad()
        (F.softplus(-self.discriminator(real)) + F.softplus(self.discriminator(made))).mean().backward()
        for parameter in self.discriminator.parameters():
            processes.average(parameter.grad)
        self.optimizer.step()
        self.steps += 1

    def saved_state(self) -> dict[str, Any]:
        return {"sd": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict(), "steps": self.steps}

    def load_saved_state(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["sd"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = int(state["steps"])
