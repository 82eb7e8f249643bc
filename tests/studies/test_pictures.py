"""Pictures of studies."""

import math
from dataclasses import replace

import numpy as np
import pytest

from otomatch.evaluation.plots.style import spread_labels
from otomatch.studies.plots import charts
from otomatch.studies.plots.figures import draw_picture, draw_pictures
from otomatch.studies.statistics import Interval
from tests.support.study_results import asking, empty, extra_tables, made_up


@pytest.mark.parametrize("heights", [[0.5] * 5, [0.9, 0.95, 0.99], [0, 0.01, 0.5, 0.51], [0.2]])
def test_names_at_the_ends_of_lines_keep_their_order_and_distance(heights):
    places = spread_labels(heights, 0.1)
    order = np.argsort(heights, kind="stable")
    ranked = np.array(places)[order]
    assert np.all(np.diff(ranked) >= 0.1 - 1e-9)
    assert ranked[0] >= 0
    assert ranked[-1] <= 1 + 1e-9


def test_names_that_are_far_apart_stay_where_their_lines_end():
    assert spread_labels([0.8, 0.1, 0.4], 0.1) == pytest.approx([0.8, 0.1, 0.4])


def test_only_points_with_a_place_on_the_axes_are_drawn_in_order():
    values = (Interval(1, 0, 2), Interval(math.nan, math.nan, math.nan), Interval(0, 0, 0))
    line = charts.Series("a", 0, (5.0, 1.0, 3.0), values)
    assert line.shown().x == (3.0, 5.0)
    assert line.shown(log_y=True).x == (5.0,)
    assert charts.Series("a", 0, (0.0,), values[:1]).shown(log_x=True).x == ()


def test_clean_arms_are_drawn_in_the_panel_of_every_kind_of_noise():
    found = made_up("noise", seeds=1)
    (spec,) = found.study.pictures
    ((drawn, picture),) = draw_picture(spec, found)
    panels = {axes.get_title(): axes for axes in drawn.axes if "R@1" in axes.get_ylabel()}
    assert set(panels) == {"kind: random", "kind: similar"}
    for axes in panels.values():
        assert [list(bars[0].get_xdata()) for bars in axes.containers] == [[0, 20, 40]] * 3
    assert "95 %" in picture.caption


@pytest.mark.slow
def test_extra_tables_are_drawn_without_zeros(tmp_path):
    extra = extra_tables()
    extra["plan_approximation"].append(
        {"batch": 1024, "scale": "full", "restricted": 0.0, "averaged": 0.0, "converged": True}
    )
    pictures = draw_pictures(replace(empty(), study=asking("batch"), extra=extra), tmp_path)
    assert [p.name for p in pictures] == ["plan-approximation", "loss-cost"]
    assert len(list(tmp_path.iterdir())) == 4
