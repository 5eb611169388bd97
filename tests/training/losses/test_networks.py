"""Losses with networks: perceptual, adversarial, features of a teacher."""

import copy

import pytest
import torch

import models
from models.checkpoints.loading import save_checkpoint
from models.normalization import Affine
from tests.conftest import SMALL_LMLIIF
from tests.training.losses.narrow import vgg19
from training.losses import Loss, make_loss
from utils.errors import InputError

WINDOW = (16, 16)
GT = Affine((0.5,), (0.5,))


def queries(seed: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 256, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def vgg(tmp_path, monkeypatch) -> str:
    """A file of weights of VGG-19's convolutions, which are narrow here."""
    path = tmp_path / "vgg19.pth"
    torch.save({f"features.{name}": 2 * value for name, value in vgg19().features.state_dict().items()}, path)
    monkeypatch.setattr("torchvision.models.vgg19", vgg19)
    return str(path)


def test_perceptual_compares_features_before_activations(vgg) -> None:
    spec = {"perceptual": {"weight": 2, "weights": vgg, "layers": {"conv1_2": 0.5, "conv2_1": 3}}}
    values, targets = queries(0).requires_grad_(), queries(1)
    found = make_loss(spec, WINDOW, GT)(values, targets)
    network = vgg19().features
    network.load_state_dict({name.removeprefix("features."): value for name, value in torch.load(vgg).items()})
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x, y = (
        (((tensor / 2 + 0.5) - mean) / deviation).transpose(1, 2).unflatten(2, WINDOW) for tensor in (values, targets)
    )
    expected = 2 * 0.5 * (network[:3](x) - network[:3](y)).abs().mean()
    expected = expected + 2 * 3 * (network[:6](x) - network[:6](y)).abs().mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    found.backward()
    assert values.grad.abs().sum() > 0
    assert make_loss(spec, WINDOW, GT)(targets, targets) == 0


@pytest.mark.parametrize(
    ("args", "window", "words"),
    [
        ({"layers": {"conv9_1": 1}}, WINDOW, "unknown layer 'conv9_1'"),
        ({"layers": {"conv1_1": -1}}, WINDOW, r"layers\.conv1_1 is -1"),
        ({"weights": "nothere.pth"}, WINDOW, r"nothere\.pth"),
        ({}, (8, 8), "windows of at least 16x16"),
        ({}, None, "sample_window"),
    ],
)
def test_perceptual_losses_that_cannot_be(vgg, args, window, words) -> None:
    with pytest.raises(InputError, match=words):
        make_loss({"perceptual": {"weights": vgg, **args}}, window, GT)


def test_weights_of_another_network_are_named(vgg, checkpoint) -> None:
    with pytest.raises(InputError, match="no weights of VGG-19"):
        make_loss({"perceptual": {"weights": str(checkpoint)}}, WINDOW, GT)


def adversarial(start: int = 0) -> Loss:
    torch.manual_seed(3)
    return make_loss({"l1": 1, "adversarial": {"weight": 0.1, "width": 4, "lr": 0.01, "start": start}}, WINDOW, GT)


def test_a_discriminator_learns_to_tell_and_the_model_is_pushed() -> None:
    """Bright outputs from dark targets; the model's gradient darkens them."""
    loss = adversarial()
    discriminator = loss.trained["adversarial"].discriminator
    made, real = queries(0) / 4 + 0.5, queries(1) / 4 - 0.5
    for _ in range(20):
        loss(made, real)
        loss.train_step()
    pictures = [x.transpose(1, 2).unflatten(2, WINDOW) for x in (made, real)]
    assert discriminator(pictures[0]).mean() < -1 < 1 < discriminator(pictures[1]).mean()
    values = made.clone().requires_grad_()
    (loss(values, real) - (values - real).abs().mean()).backward()
    assert values.grad.mean() > 0, "descent makes it darker"


def test_a_batch_in_uneven_parts_trains_the_discriminator_as_a_whole_one() -> None:
    whole, parts = adversarial(), adversarial()
    made, real = queries(0, 4), queries(1, 4)
    whole(made, real)
    for part in (slice(0, 3), slice(3, 4)):
        parts(made[part], real[part])
    for loss in (whole, parts):
        loss.train_step()
    states = [loss.trained["adversarial"].discriminator.state_dict() for loss in (whole, parts)]
    assert all(torch.allclose(states[0][name], states[1][name], atol=1e-6) for name in states[0])


def test_the_discriminator_goes_on_exactly_and_starts_when_asked() -> None:
    loss, other = adversarial(start=2), adversarial(start=2)
    made, real = queries(0), queries(1)
    plain = (made - real).abs().mean()
    for number in range(3):
        assert (loss(made, real) == plain) == (number < 2)
        loss.train_step()
    other.load_state_dict(copy.deepcopy(loss.state_dict()))
    for each in (loss, other):
        each(real, made)
        each.train_step()
    assert loss(made, real) == other(made, real) != plain
    with pytest.raises(InputError, match="state of the loss 'adversarial'"):
        other.load_state_dict({"adversarial": {"steps": 3}})


def test_features_of_a_teacher(tmp_path) -> None:
    torch.manual_seed(0)
    student, teacher = (models.make(SMALL_LMLIIF) for _ in range(2))
    save_checkpoint(tmp_path / "teacher.pth", {"model": {**SMALL_LMLIIF, "sd": teacher.state_dict()}})
    loss = make_loss({"features": {"weight": 0.5, "teacher": str(tmp_path / "teacher.pth")}}, None, GT, student)
    image, coord, cell = torch.rand(2, 3, 6, 5), torch.rand(2, 7, 2), torch.rand(2, 2)
    values = student.train()(image, coord, cell)
    found = loss(values, values)
    expected = 0.5 * (student.encoder(image) - teacher.encoder(image)).abs().mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    found.backward()
    assert student.encoder.head[0].weight.grad.any()
    wide = {**SMALL_LMLIIF, "args": {**SMALL_LMLIIF["args"], "encoder_spec": {
        "name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 12, "no_upsampling": True}}}}  # fmt: skip
    with pytest.raises(InputError, match="gives 8 features, that of the model 12"):
        make_loss({"features": {"teacher": str(tmp_path / "teacher.pth")}}, None, GT, models.make(wide))
