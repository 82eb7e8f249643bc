"""Output files of a study: rows.csv, summary.md, plots/ and index.html."""

from importlib.util import find_spec
from pathlib import Path

from otomatch.files import write_text
from otomatch.studies.page import PLOTS, ROWS, SUMMARY, index_html
from otomatch.studies.plots.figures import FORMATS, draw_pictures
from otomatch.studies.results import Results
from otomatch.studies.summary import rows_csv, summary_markdown

PAGE = "index.html"
_NO_PICTURES = (
    "No pictures were drawn because matplotlib is not installed. Install it with "
    "pip install 'otomatch[plots]' and run the same study again to draw them."
)


def write_results(results: Results, folder: Path) -> None:
    """Write rows.csv, summary.md, plots/ (PNG and SVG) and index.html, each file atomically.

    Results may be incomplete, or empty. Without matplotlib there are no plots, and the summary says
    so. Several processes may write at once; the files of the last one stay.

    Args:
        results: Results of a study.
        folder: Folder to write to, created if needed. Pictures in it that the results no longer
            have are removed.
    """
    drawable = find_spec("matplotlib") is not None
    plots = folder / PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    pictures = draw_pictures(results, plots) if drawable else []
    notes = () if drawable else (_NO_PICTURES,)
    write_text(folder / ROWS, rows_csv(results))
    write_text(folder / SUMMARY, summary_markdown(results, notes))
    write_text(folder / PAGE, index_html(results, pictures, notes))  # last: it links to the others
    names = {f"{picture.name}.{ending}" for picture in pictures for ending in FORMATS}
    for old in plots.iterdir():
        if old.suffix[1:] in FORMATS and old.name not in names:
            old.unlink(missing_ok=True)
