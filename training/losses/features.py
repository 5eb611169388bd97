"""Distillation of a teacher's features."""

import torch
from torch import Tensor, nn

from models.checkpoints.loading import load_upscaler
from training.losses import register
from utils.config import FilePath
from utils.errors import InputError


@register("features")
class FeatureDistillation(nn.Module):
    """Mean absolute difference between the features of the model's encoder and those of a teacher's, on the same
    pictures (Romero et al. 2015, without the regressor).

    `teacher`: a checkpoint whose encoder gives as many features. It sees pictures in the model's normalisation.
    InputError for one that does not fit.
    """

    def __init__(self, model: nn.Module, teacher: FilePath):
        super().__init__()
        encoder, other = getattr(model, "encoder", None), getattr(load_upscaler(teacher).model, "encoder", None)
        widths = [getattr(network, "out_dim", None) for network in (encoder, other)]
        if None in widths or widths[0] != widths[1]:
            raise InputError(
                f"loss 'features': the encoder of {teacher} gives {widths[1]} features, that of the model {widths[0]}"
            )
        self.teacher = other.eval().requires_grad_(False)
        self.seen: tuple[Tensor, Tensor] | None = None
        encoder.register_forward_hook(self._remember)

    def _remember(self, encoder: nn.Module, inputs: tuple[Tensor, ...], features: Tensor) -> None:
        if encoder.training:
            self.seen = inputs[0], features

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        picture, features = self.seen
        self.seen = None
        with torch.no_grad():
            wanted = self.teacher(picture.float())
        return (features.float() - wanted).abs().mean()
