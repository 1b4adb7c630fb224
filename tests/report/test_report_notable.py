"""The slices that a person should look at, and their outline."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctiqa_node.report.content import ReportedMeasurement, SliceChoice
from ctiqa_node.report.notable import Role, grouped_slices, notable_slices, shown_slices
from ctiqa_node.report.outline import body_outline


def _with_values(model, name, values):
    return replace(model, measurements=tuple(ReportedMeasurement(name, v, "1", z) for z, v in values.items()))


def test_the_lowest_quality_is_worst_and_the_highest_best(report):
    values = {0: 0.5, 1: 0.9, 2: 0.2, 3: 0.6, 4: 0.3, 5: 0.7}
    chosen = notable_slices(replace(report, models=(_with_values(report.models[0], "n2q_quality", values),)))
    assert [(n.slice_index, n.role, n.rank) for n in chosen] == [
        (2, Role.WORST, 1),
        (4, Role.WORST, 2),
        (0, Role.WORST, 3),
        (1, Role.BEST, 1),
        (3, Role.MIDDLE, 1),
    ]
    assert chosen[-1].sentence == "middle slice"


def test_a_middle_slice_that_is_notable_anyway_is_not_chosen_twice(report):
    values = {0: 0.5, 1: 0.9, 2: 0.6, 3: 0.2, 4: 0.3, 5: 0.7}
    chosen = notable_slices(replace(report, models=(_with_values(report.models[0], "n2q_quality", values),)))
    assert [n.slice_index for n in chosen] == [3, 4, 0, 1]


def test_the_page_shows_the_middle_slice_only_in_want_of_ranked_ones(report, unscored_report):
    values = {0: 0.5, 1: 0.9, 2: 0.2, 3: 0.6, 4: 0.3, 5: 0.7}
    ranked = replace(report, models=(_with_values(report.models[0], "n2q_quality", values),))
    assert [n.role for n in notable_slices(ranked)].count(Role.MIDDLE) == 1
    assert Role.MIDDLE not in [n.role for n in shown_slices(ranked)]
    assert [n.role for n in shown_slices(unscored_report)] == [Role.MIDDLE]


def test_all_slices_have_groups_where_that_is_wanted_the_notable_ones_first(report):
    grouped = grouped_slices(replace(report, slice_groups=SliceChoice.ALL))
    assert grouped[:4] == notable_slices(report) == grouped_slices(report)
    assert sorted(n.slice_index for n in grouped) == list(range(6))


def test_without_quality_the_noisiest_slice_is_worst(report):
    chosen = notable_slices(replace(report, models=report.models[1:]))
    assert [n.slice_index for n in chosen] == [5, 4, 3, 0]  # the third worst is the middle one
    assert chosen[0].ranked_by == "noise_level"


def test_without_any_score_the_middle_slice_stands_alone(unscored_report):
    (chosen,) = notable_slices(unscored_report)
    assert (chosen.slice_index, chosen.role) == (3, Role.MIDDLE)


@pytest.mark.parametrize(("count", "roles"), [(1, ["only"]), (2, ["worst", "best"]), (3, ["worst", "worst", "best"])])
def test_few_ranked_slices_are_never_chosen_twice(report, count, roles):
    values = {z: 0.1 * z for z in range(count)}
    chosen = shown_slices(replace(report, models=(_with_values(report.models[0], "n2q_quality", values),)))
    assert [n.role for n in chosen] == roles
    assert len({n.slice_index for n in chosen}) == count


def test_values_of_slices_that_do_not_exist_are_ignored(report):
    values = {0: 0.5, 99: 0.1, -1: 0.0}
    (chosen,) = shown_slices(replace(report, models=(_with_values(report.models[0], "n2q_quality", values),)))
    assert chosen.slice_index == 0


@given(st.integers(20, 44), st.integers(20, 44), st.integers(14, 19), st.integers(14, 19))
def test_the_outline_runs_around_an_ellipse(x, y, width, height):
    rows, columns = np.mgrid[:64, :64]
    inside = ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 < 1
    points = body_outline(np.where(inside, 30.0, -1000.0).astype(np.float32))
    assert np.array_equal(points[0], points[-1])
    assert points.min() >= 0
    assert points.max() <= 64
    drawn = np.zeros((64, 64), dtype=np.uint8)
    cv2.fillPoly(drawn, [np.round(points - 0.5).astype(np.int32)], 1)
    overlap = 2 * (drawn.astype(bool) & inside).sum() / (drawn.sum() + inside.sum())
    assert overlap > 0.95


def test_a_table_and_holes_do_not_change_the_outline(report):
    hu = report.volume.hu[0].copy()
    plain = body_outline(hu)
    hu[90:92, 5:90] = 100.0  # a thin plate below
    hu[40:50, 40:56] = -1000.0  # air inside
    assert np.array_equal(body_outline(hu), plain)


def test_an_empty_slice_gets_its_frame_as_outline():
    points = body_outline(np.full((40, 60), -1000.0, dtype=np.float32))
    assert points.tolist() == [[0.5, 0.5], [59.5, 0.5], [59.5, 39.5], [0.5, 39.5], [0.5, 0.5]]


def test_a_chest_wall_of_few_pixels_is_not_opened():
    rows, columns = np.mgrid[:64, :64]
    radius = np.hypot((columns - 32) / 24, (rows - 32) / 18)
    ring = (radius < 1) & (radius > 0.75)  # lungs to within five pixels of the skin
    points = body_outline(np.where(ring, 30.0, -900.0).astype(np.float32))
    assert np.ptp(points[:, 0]) == pytest.approx(47, abs=2)
    assert np.ptp(points[:, 1]) == pytest.approx(35, abs=2)
