"""Names for help and errors are those of the registries."""

import models
from models.cmsr.rendering import MEASURES
from models.cmsr.tables import RULES
from utils import names


def test_names_are_those_of_the_registries() -> None:
    assert sorted(names.FILTERS) == models.names("resampling")
    assert tuple(MEASURES) == names.MEASURES
    assert tuple(RULES) == names.RULES
