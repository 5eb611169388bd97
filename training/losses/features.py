"""Losses on features: of a network that was trained to recognise objects, and of a teacher's encoder."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.checkpoints.loading import load_upscaler
from models.normalization import Affine
from training.losses import register
from training.losses.windows import as_pictures, check_window
from utils.config import POSITIVE, FilePath, check
from utils.errors import InputError, nearest_name
from utils.files import read_tensors

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for torchvision's networks


@register("perceptual")
class Perceptual(nn.Module):
    """Mean absolute difference of the features of VGG-19 (Johnson et al. 2016; before the activation, as in Wang et al.
    2018, ESRGAN, section 3.2).

    `layers`: {name of a convolution: its weight}. `weights`: a state dict of torchvision's vgg19 in a file; without it
    torchvision downloads its own at first use. InputError when they cannot be had.
    """

    def __init__(
        self, window: tuple[int, int], gt: Affine, layers: Mapping | None = None, weights: FilePath | None = None
    ):
        super().__init__()
        layers = {"conv5_4": 1} if layers is None else layers
        network = _vgg19(weights)
        names = _names(network)
        for name, weight in layers.items():
            check(f"loss 'perceptual': layers.{name}", weight, POSITIVE)
            if name not in names:
                raise InputError(f"loss 'perceptual': unknown layer {name!r}; {nearest_name(name, names)}")
        self.layers = {names[name]: weight for name, weight in layers.items()}
        check_window("perceptual", window, 16 if max(self.layers) > names["conv4_4"] else 8)
        self.network = network[: max(self.layers) + 1].eval().requires_grad_(False)
        self.window = window
        self.gt = gt

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        x, y = (self._normalised(tensor) for tensor in (values, targets))
        loss = values.new_zeros(())
        for number, layer in enumerate(self.network):
            x, y = layer(x), layer(y)
            if number in self.layers:
                loss = loss + self.layers[number] * (x - y).abs().mean()
        return loss

    def _normalised(self, values: Tensor) -> Tensor:
        """(B, Q, 3) in the normalised range of a training -> (B, 3, h, w) in that of the network."""
        pictures = as_pictures(self.gt.invert(values, channels_last=True), self.window)
        mean, deviation = (pictures.new_tensor(constants)[:, None, None] for constants in (MEAN, DEVIATION))
        return (pictures - mean) / deviation


def _vgg19(weights: FilePath | None) -> nn.Sequential:
    """The convolutions of torchvision's VGG-19, whose activations leave their input as it is."""
    from torchvision.models import VGG19_Weights, vgg19

    try:
        network = vgg19(weights=VGG19_Weights.IMAGENET1K_V1 if weights is None else None)
    except (OSError, RuntimeError) as error:  # no network, or a download cut short
        raise InputError(
            f"loss 'perceptual': the weights of VGG-19 cannot be downloaded ({error}); give their file as "
            "loss.perceptual.weights"
        ) from None
    features = network.features
    if weights is not None:
        state = read_tensors(weights, "weights of VGG-19")
        own = {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
        try:
            features.load_state_dict(own)
        except RuntimeError as error:
            raise InputError(f"{weights} holds no weights of VGG-19: {str(error).splitlines()[-1].strip()}") from None
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return features


def _names(network: nn.Sequential) -> dict[str, int]:
    """conv1_1, conv1_2, ... of the convolutions between poolings -> their numbers in the network."""
    names, block, number = {}, 1, 1
    for index, layer in enumerate(network):
        if isinstance(layer, nn.MaxPool2d):
            block, number = block + 1, 1
        elif isinstance(layer, nn.Conv2d):
            names[f"conv{block}_{number}"] = index
            number += 1
    return names


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
