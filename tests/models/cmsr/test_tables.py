"""scale2mod tables: the published rule against a direct transcription, files, choice of levels."""

import pytest
import torch
import torch.nn.functional as F
import yaml

import models
from models.cmsr.calibration import LevelErrors, level_errors, make_levels, pooled_threshold, window_threshold
from models.cmsr.rendering import MEASURES, Level
from models.cmsr.tables import ScaleTable, load_table, save_table
from models.upscaler import Upscaler
from tests.conftest import SMALL_LMLIIF
from tests.golden_cases import painted
from utils.errors import InputError
from utils.geometry.grids import Grid, cell_of


@pytest.fixture
def upscaler() -> Upscaler:
    torch.manual_seed(0)
    model = models.make(SMALL_LMLIIF).eval()
    model.hypernet.layers[-1].weight.data *= 6  # spreads the intensities over the scanned range
    return Upscaler(model)


def transcription(upscaler, pictures, target, mse):
    """The rule of the specification, section 8, pixel by pixel."""
    model, table = upscaler.model, {}
    for lr in pictures:
        latent = upscaler.encode(lr)
        h, w = lr.shape[-2:]
        size = (h * target, w * target)
        cell = cell_of(size)[None] * max(target / 4, 1)
        field = model.field(latent, cell)
        full = painted(model, field, Grid.of_size(size)) * 0.5 + 0.5
        modulation = field.modulation[0]
        intensity = modulation[..., modulation.shape[-1] // 2 :].abs().mean(-1)
        at_output = intensity.repeat_interleave(target, 0).repeat_interleave(target, 1)
        previous = 0.0
        for scale in (s for s in (1, 1.5, 2, 3, 4, 6, 8) if s < target):
            level = (round(h * scale), round(w * scale))
            lower = model.with_cell(field, cell_of(level)[None] * max(scale / 4, 1))
            picture = painted(model, lower, Grid.of_size(level)) * 0.5 + 0.5
            error = (F.interpolate(picture, size, mode="bilinear") - full).square().mean(1)[0]
            entry = 0.0
            for step in torch.linspace(0, 1, 101):
                near = (at_output - step).abs() <= 0.001
                if near.any() and error[near].mean() > mse:
                    break
                entry = float(step)
            previous = entry = max(entry, previous)
            table[scale] = min(table.get(scale, 1.0), entry)
    return table


@pytest.mark.parametrize(("target", "mse"), [(6, 2e-5), (4, 1e-4)])
def test_window_rule_equals_its_transcription(upscaler, target, mse) -> None:
    pictures = [F.interpolate(torch.rand(1, 3, 5, 6), (12, 14), mode="bicubic")[0].clamp(0, 1) for _ in range(2)]
    with torch.inference_mode():
        expected = transcription(upscaler, pictures, target, mse)
        errors = [level_errors(upscaler, upscaler.encode(lr), target, "intensity") for lr in pictures]
    levels = make_levels(errors, target, "window", mse, 1.0)
    assert {level.scale: level.threshold for level in levels[:-1]} == pytest.approx(expected)
    assert levels[-1] == Level(target, 1.0)
    assert len(set(expected.values())) > 1


def errors_of(measure, error) -> LevelErrors:
    return LevelErrors(1, torch.tensor(measure), torch.tensor(error), torch.ones(len(measure)))


def test_window_threshold_stops_at_the_first_failure() -> None:
    assert window_threshold(errors_of([0.1, 0.3, 0.5], [0.0, 2.0, 0.0]), 1.0, 1.0) == pytest.approx(0.29)
    assert window_threshold(errors_of([0.1, 0.3, 0.5], [0.0, 1.0, 0.0]), 1.0, 1.0) == 1.0
    assert window_threshold(errors_of([0.0], [2.0]), 1.0, 1.0) == 0.0


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
