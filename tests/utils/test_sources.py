"""What is read from the text of modules is what they hold when they are imported."""

import pytest

import models
from models.cmsr.calibration import RULES
from models.cmsr.rendering import MEASURES
from models.native import BACKENDS
from utils.sources import choices, registered_names


@pytest.mark.parametrize("folder", ["decoders", "encoders", "resampling", "layers", "lerf"])
def test_registered_names_are_those_of_the_registry(folder) -> None:
    assert registered_names(f"models/{folder}") == models.names(folder)


@pytest.mark.parametrize(
    ("file", "name", "held"),
    [
        ("models/native/__init__.py", "BACKENDS", BACKENDS),
        ("models/cmsr/rendering.py", "MEASURES", MEASURES),
        ("models/cmsr/calibration.py", "RULES", RULES),
    ],
)
def test_choices_are_those_of_the_module(file, name, held) -> None:
    assert choices(file, name) == list(held)


def test_a_name_that_is_gone_is_a_bug() -> None:
    with pytest.raises(LookupError, match="NOTHING"):
        choices("models/native/__init__.py", "NOTHING")
