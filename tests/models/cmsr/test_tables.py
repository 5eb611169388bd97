"""scale2mod tables: the pooled rule, files, choice of levels; the published rule is in tests/test_init_cmsr.py."""

import pytest
import torch
import yaml

from models.cmsr.calibration import LevelErrors, pooled_threshold
from models.cmsr.rendering import MEASURES, Level
from models.cmsr.tables import ScaleTable, load_table, save_table
from utils.errors import InputError


def errors_of(measure, error) -> LevelErrors:
    return LevelErrors(1, torch.tensor(measure), torch.tensor(error), torch.ones(len(measure)))


def test_pooled_threshold_spends_the_budget_on_all_pictures() -> None:
    first, second = errors_of([0.1, 0.4], [0.0, 2.0]), errors_of([0.2, 0.3], [1.0, 2.0])
    assert pooled_threshold([first, second], 1.0) == pytest.approx(0.3)  # (0 + 1 + 2) / 3 = 1
    assert pooled_threshold([first, second], 0.4) == pytest.approx(0.1)
    assert pooled_threshold([errors_of([0.1], [1.0])], 0.5) == 0.0


def test_files_round_trip_and_published_ones_load(tmp_path) -> None:
    table = ScaleTable(
        {6.0: (Level(1, 0.25), Level(1.5, 0.3), Level(6, 1.0))}, {"model": "abc", "measure": "curvature"}
    )
    save_table(tmp_path / "t.yaml", table)
    assert load_table(tmp_path / "t.yaml", "abc") == table
    (tmp_path / "published.yaml").write_text("{6: {4: 0.55, 1: 0.32, 2: 0.41, 6: 1}}")
    published = load_table(tmp_path / "published.yaml", "any model")
    assert published.levels[6] == (Level(1, 0.32), Level(2, 0.41), Level(4, 0.55), Level(6, 1))
    assert published.measure == "intensity"
    assert (published.truncates, table.truncates) == (True, True)
    assert not ScaleTable(table.levels, {"rule": "pooled"}).truncates


def test_levels_are_those_of_the_next_target() -> None:
    table = ScaleTable({8.0: (Level(8, 1),), 6.0: (Level(6, 1),)})
    assert [table.levels_for(s)[0].scale for s in (5, 6, 6.5, 8, 12)] == [6, 6, 8, 8, 8]
    assert table.notice(8) is None
    assert "x8" in table.notice(12)


@pytest.mark.parametrize(
    "text",
    ["a: [1", "just text", "{}", "{6: 3}", "{6: {}}", "{six: {1: 0.3}}", "{6: {1: -0.3}}", "scale2mod: 5", "- 3"],
)
def test_malformed_tables_are_named(tmp_path, text) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(InputError, match=r"t\.yaml") as caught:
        load_table(tmp_path / "t.yaml")
    assert "\n" not in str(caught.value)


def test_tables_of_other_weights_are_refused(tmp_path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({"model": "abc", "scale2mod": {6: {6: 1}}}))
    with pytest.raises(InputError, match="abc"):
        load_table(path, "other")
    assert load_table(path, "other", force=True).levels
    path.write_text(yaml.safe_dump({"measure": "curvatur", "scale2mod": {6: {6: 1}}}))
    with pytest.raises(InputError, match="did you mean 'curvature'"):
        load_table(path)
    with pytest.raises(InputError, match=r"nothere\.yaml"):
        load_table(tmp_path / "nothere.yaml")


def test_curvature_sees_edges_and_not_ramps() -> None:
    ramp = torch.linspace(-1, 1, 12).expand(1, 3, 10, 12)
    inside = MEASURES["curvature"](None, None, ramp)[:, 2:-2, 2:-2]
    assert inside.abs().max() < 1e-6
    step = torch.where(torch.arange(12) < 6, -1.0, 1.0).expand(1, 3, 10, 12)
    values = MEASURES["curvature"](None, None, step)[0, 5]
    assert values.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
