"""VGG-19 with few features, at random: the layers and their names are torchvision's."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn


def vgg19(weights: Any = None) -> SimpleNamespace:
    torch.manual_seed(0)
    layers, channels = [], 3
    for count in (2, 2, 4, 4, 4):
        for _ in range(count):
            layers += [nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU()]
            channels = 4
        layers.append(nn.MaxPool2d(2))
    return SimpleNamespace(features=nn.Sequential(*layers))
