"""Tables of studies."""

import math
from dataclasses import replace

import numpy as np
import pytest

from otomatch.studies.catalogue import STUDIES as CATALOGUE
from otomatch.studies.catalogue import Arm
from otomatch.studies.formatting import number
from otomatch.studies.results import domain_of
from otomatch.studies.statistics import paired_difference
from otomatch.studies.summary import summary_markdown
from otomatch.studies.tables import TextTable, difference_tables, result_tables
from otomatch.studies.tables import extra_tables as tables_of_extra
from tests.support.study_results import arms_of_study, made_up, results


def only(tables: list[TextTable], title: str) -> TextTable:
    return next(table for table in tables if table.title.startswith(title))


def test_without_its_reference_a_study_has_means_but_no_differences():
    found = made_up("losses", seeds=1)
    others = replace(found, outcomes=tuple(o for o in found.outcomes if o.arm.label != "m-LTM"))
    assert len(only(result_tables(others), "Means").rows) == 2
    assert difference_tables(others) == []
    assert "Judge by the differences" not in summary_markdown(others)


def test_means_and_differences_are_those_of_the_statistics():
    arms = [Arm("m-LTM", {"loss": "m-LTM"}), Arm("NT-Xent", {"loss": "NT-Xent"})]
    level = {"m-LTM": 30.0, "NT-Xent": 28.0}
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 9, 30)
    found = results(arms, lambda arm, seed, _test: level[arm.label] + 2.0 * seed + shared)
    means = only(result_tables(found), "Means")
    mean = 30 + 2 + shared.mean()
    assert means.header == ("setting", "seeds", "text to audio R@1 (%)")
    assert means.rows[0] == ("m-LTM", "3", f"{mean:.1f} ± 2.0")
    difference = only(difference_tables(found), "Difference from m-LTM")
    assert difference.rows == (("NT-Xent", "-2.0 [-2.0, -2.0]", "3 x 2"),)
    assert paired_difference(found, "NT-Xent", "m-LTM", "t2a_r1").value == pytest.approx(-2)


def test_noisy_arms_are_compared_with_the_reference_at_the_same_noise_and_kind():
    found = made_up("noise", seeds=1)
    tables = difference_tables(found)
    assert [t.title.split(" [")[0] for t in tables] == [
        "Difference from NT-Xent with the same noise",
        "Difference from m-LTM with the same noise",
    ]
    assert len(tables[0].rows) == 2 * 5  # two other methods at five levels and kinds
    label = "method trimmed auto, noise 0.4, kind similar"
    row = next(row for row in tables[0].rows if row[0] == label)
    other = label.replace("trimmed auto", "NT-Xent")
    value = paired_difference(found, label, other, "t2a_r1").value
    assert row[1].startswith(number(value, 1, "+"))


def test_transfer_has_a_matrix_and_keeps_what_was_tested_on_apart():
    found = made_up("transfer", seeds=1)
    tables = result_tables(found)
    matrix = only(tables, "text to audio R@1")
    assert matrix.header == ("setting", "tested on recordings", "tested on rendered")
    assert len(matrix.rows) == 4
    own = [o.values["t2a_r1"] for o in found.outcomes
           if o.arm.label == matrix.rows[0][0] and domain_of(o.test) == "rendered"]  # fmt: skip
    assert matrix.rows[0][2] == f"{np.mean(own):.1f}"
    assert [t.title for t in difference_tables(found)] == [
        f"Difference from NT-Xent on the same data [95 % interval], tested on {name}"
        for name in ("recordings", "rendered")
    ]


def test_scale_has_an_exponent_for_each_budget():
    arms = arms_of_study("scale")
    found = results(arms, lambda arm, _seed, _test: np.full(4, arm.factors["pairs"] ** 0.5))
    exponents = only(result_tables(replace(found, study=CATALOGUE["scale"])), "Exponents")
    assert [row[:2] for row in exponents.rows] == [
        ("epochs", "0.50 [0.50, 0.50]"),
        ("steps", "0.50 [0.50, 0.50]"),
    ]


def test_extra_tables_show_all_columns_and_plain_values():
    rows = [{"loss": "a", "seconds": 0.123456, "missing": None}, {"loss": "b", "ok": True}]
    (table,) = tables_of_extra({"loss_cost": rows, "empty": []})
    assert table == TextTable(
        "Loss cost",
        ("loss", "seconds", "missing", "ok"),
        (("a", "0.1235", "-", "-"), ("b", "-", "-", "yes")),
    )


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (1.25, 1, "", "1.2"),
        (-0.01, 1, "+", "0.0"),
        (0.04, 1, "+", "0.0"),
        (2.0, 1, "+", "+2.0"),
        (math.nan, 1, "", "-"),
        (math.inf, 1, "", "inf"),
        (32896.0, 0, "", "32,896"),
    ],
)
def test_numbers_are_written_plainly(value, digits, sign, text):
    assert number(value, digits, sign) == text


@pytest.mark.parametrize(
    ("test", "name"),
    [("recordings-0", "recordings"), ("test", "test"), ("a-b", "a-b"), ("a-b-12", "a-b")],
)
def test_a_draw_belongs_to_its_domain(test, name):
    assert domain_of(test) == name
