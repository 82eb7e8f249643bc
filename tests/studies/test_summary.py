"""Summaries and rows.csv of studies."""

from dataclasses import replace

from otomatch.studies.catalogue import STUDIES as CATALOGUE
from otomatch.studies.catalogue import Arm
from otomatch.studies.summary import first_line, rows_csv, summary_markdown
from tests.support.study_results import STUDIES, failed, made_up, read_rows


def test_rows_read_back_with_all_values_factors_and_failures():
    found = made_up("noise", seeds=1)
    broken = Arm("broken", {"method": "m-LTM", "noise": 0.6, "kind": "random"})
    rows = read_rows(rows_csv(failed(found, broken, "RunError: no\n\nTraceback ...")))
    for row, outcome in zip(rows, found.outcomes, strict=False):
        assert (row["study"], row["arm"], row["test"]) == ("noise", outcome.arm.label, outcome.test)
        assert float(row["noise"]) == outcome.arm.factors["noise"]
        assert float(row["t2a_r1"]) == outcome.values["t2a_r1"]
        assert row["clean_share"] == row["error"] == ""
    assert (rows[-1]["arm"], rows[-1]["noise"], rows[-1]["seed"]) == ("broken", "0.6", "0")
    assert (rows[-1]["error"], rows[-1]["t2a_r1"]) == ("RunError: no", "")


def test_a_metric_called_as_a_factor_has_a_column_of_its_own():
    row = read_rows(rows_csv(made_up("losses", seeds=1)))[0]
    assert (row["loss"], row["loss (value)"]) == ("m-LTM", "0.5")


def test_failures_and_what_is_missing_are_counted_and_named():
    found = failed(made_up("losses", seeds=1), Arm("bad", {"loss": "bad"}), "\nRunError: why\nx")
    found = replace(found, planned=7)
    summary = summary_markdown(found)
    assert "Of 7 runs, 3 are done, 1 failed and 3 are missing." in summary
    assert "tried again only on request (retry)" in summary
    assert "| bad | 0 | RunError: why |" in summary
    assert first_line("\n \n") == "unknown"


def test_every_study_says_how_to_read_its_intervals():
    for study in STUDIES:
        text = summary_markdown(made_up(study, seeds=1))
        assert "What the intervals leave out" in text
        assert "pigeonhole" in text
        assert ("Judge by the differences" in text) == bool(CATALOGUE[study].view.references)
