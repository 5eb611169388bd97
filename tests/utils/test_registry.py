"""Arguments of registered things are checked by their annotations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import datasets
import models
from models.cmsr.rendering import MEASURES as measures
from models.cmsr.tables import RULES as rules
from models.registry import make, registry
from tests.conftest import SMALL_LMLIIF
from training.losses import registry as losses
from utils.config import Count, Even, Positive, check_of, whole
from utils.errors import InputError
from utils.registry import FILTERS, MEASURES, RULES, Registry, arguments_of

REGISTRIES = (registry, datasets.registry, losses)
REGISTERED = [(registry, name) for registry in REGISTRIES for name in registry.factories]


@pytest.mark.parametrize(
    ("annotation", "fitting", "others"),
    [
        (int, [0, -3], [True, 1.0, "1", None, 10**16]),
        (Count, [1], [0, -1, True]),
        (Even, [2], [1, 0]),
        (Annotated[int, whole(0, 9)], [9], [10]),
        (float, [1, -0.5], [True, "1", float("nan"), float("inf"), 10**400]),
        (Positive, [0.1], [0, -1, float("inf")]),
        (bool, [True], [0, "false", "off", None]),
        (str, ["x"], [3, b"x"]),
        (Path, ["x", Path("x")], ["", "a\0b", 3]),
        (int | None, [3, None], ["3"]),
        (Literal["a", 2], ["a", 2], ["b", 2.0]),
        (Literal[1], [1], [True]),
        (Sequence[Count], [[1, 2], (3,), []], [[0], "12", 3, {}]),
        (tuple[int, int], [[1, 2]], [[1], [1, 2, 3], ["1", 2]]),
        (Mapping[str, Any], [{}], [[], "x"]),
        (Any, [None, 3], []),
        (Registry, [Registry("x")], ["x"]),
    ],
)
def test_annotations_say_what_fits(annotation, fitting, others) -> None:
    kind = check_of(annotation)
    assert all(map(kind.fits, fitting))
    assert not any(map(kind.fits, others))


@pytest.mark.parametrize(("registry", "name"), REGISTERED, ids=[name for _, name in REGISTERED])
def test_every_argument_of_every_registered_thing_has_a_kind(registry, name) -> None:
    kinds, _ = arguments_of(registry.factories[name])
    for argument, kind in kinds.items():
        assert kind.words != "anything", argument
        with pytest.raises(InputError) as caught:
            registry.make({"name": name, "args": {argument: object()}})
        assert argument in str(caught.value)


def test_arguments_without_annotations_take_anything() -> None:
    registry = Registry("thing")
    registry.register("bare")(lambda size: size)
    assert registry.make({"name": "bare", "args": {"size": "large"}}) == "large"
    with pytest.raises(InputError, match="no argument 'siz'; did you mean 'size'"):
        registry.make({"name": "bare", "args": {"siz": 3}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr_skip": "false"}, "lr_skip is 'false'; expected true or false"),
        ({"local_ensemble": "off"}, "local_ensemble is 'off'; expected true or false"),
        ({"feat_unfold": -1}, "feat_unfold is -1; expected true or false"),
        ({"encoder_spec": {"name": "edsr-baseline", "args": {"no_upsampling": ["a"]}}}, "no_upsampling is ['a']"),
        ({"imnet_spec": {"name": "lmmlp", "args": {"hidden_depth": 2**70}}}, "hidden_depth is 1180591620"),
        ({"imnet_spec": {"name": "lmmlp", "args": {"out_dim": 4}}}, "out_dim is 4, but 3 follows"),
        ({"imnet_spec": "x" * 100_000}, "imnet_spec is 'xxx"),
        ({"y" * 100_000: 3}, "has no argument 'yyy"),
    ],
)
def test_what_is_not_what_was_meant_is_one_short_line(change, words) -> None:
    with pytest.raises(InputError) as caught:
        make({"name": "lmliif", "args": {**SMALL_LMLIIF["args"], **change}})
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_names_for_help_are_those_of_the_registries() -> None:
    assert sorted(FILTERS) == models.names("resampling")
    assert tuple(measures) == MEASURES
    assert tuple(rules) == RULES
