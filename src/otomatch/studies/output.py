"""Writes what a study says into its folder."""

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from otomatch.studies.page import PLOTS, ROWS, SUMMARY, index_html
from otomatch.studies.plots.figures import FORMATS, draw
from otomatch.studies.results import Results
from otomatch.studies.summary import rows_csv, summary_markdown

PAGE = "index.html"
_NO_PICTURES = (
    "No pictures were drawn, for matplotlib is not installed. After pip install 'otomatch[plots]' "
    "the same command draws them."
)


def write(results: Results, folder: Path) -> None:
    """Write rows.csv, summary.md, plots/ (PNG and SVG) and index.html, each file in one step.

    Results may be incomplete, or empty. Without matplotlib there are no plots, and the summary says
    so. Several processes may write at once; the last one's files stay.

    Args:
        results: of a study.
        folder: where to; made if need be. Pictures of earlier results that these do not have are
            removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        able = find_spec("matplotlib") is not None
        pictures = draw(results, partial / PLOTS) if able else []
        notes = () if able else (_NO_PICTURES,)
        texts = {
            ROWS: rows_csv(results),
            SUMMARY: summary_markdown(results, notes),
            PAGE: index_html(results, pictures, notes),
        }
        names = [f"{PLOTS}/{picture.name}.{ending}" for picture in pictures for ending in FORMATS]
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        (folder / PLOTS).mkdir(exist_ok=True)
        for name in [*names, *texts]:  # the page last, when all that it links to is there
            (partial / name).replace(folder / name)
        for old in (folder / PLOTS).iterdir():
            if old.suffix[1:] in FORMATS and f"{PLOTS}/{old.name}" not in names:
                old.unlink(missing_ok=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
