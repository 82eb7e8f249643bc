"""HTML page of a study: a single file without scripts or external resources."""

from collections.abc import Iterable, Sequence
from html import escape

from otomatch.studies.plots.layout import StudyPicture
from otomatch.studies.results import Results
from otomatch.studies.summary import SummarySection, sections
from otomatch.studies.tables import TextTable

PLOTS, ROWS, SUMMARY = "plots", "rows.csv", "summary.md"
"""Names of the files that the page links to, in its own folder."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --page: #fff; --line: #d0d0d0; --soft: #f4f4f4;
  --link: #0060a0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --page: #16181a; --line: #43474b; --soft: #22262a; --link: #7cc4f5; }
}
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink);
  background: var(--page); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2 { line-height: 1.2; }
p, li { max-width: 44rem; }
a { color: var(--link); }
figure { margin: 1.5rem 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; }
figcaption { max-width: 44rem; font-size: 0.9rem; margin-top: 0.4rem; }
.scroll { overflow-x: auto; margin: 1.5rem 0; border: 1px solid var(--line); }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums;
  min-width: 100%; }
caption { text-align: left; font-weight: 600; padding: 0.4rem 0.6rem; }
th, td { padding: 0.25rem 0.6rem; text-align: right; white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; min-width: 4.5rem;
  background: var(--soft); }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--soft); }
tbody tr { border-top: 1px solid var(--line); }
pre { overflow-x: auto; font-size: 0.8rem; background: var(--soft); padding: 0.6rem; }
"""


def index_html(
    results: Results, pictures: Sequence[StudyPicture], notes: Iterable[str] = ()
) -> str:
    """Return the page of a study, with the tables of its summary.

    It links to rows.csv, summary.md and the pictures in plots/ (PNG and SVG), all in its folder.

    Args:
        results: Results of a study, complete or not.
        pictures: Pictures that were drawn.
        notes: Further remarks on how the study was run.
    """
    question, *others = sections(results, notes)
    title = f"Study: {escape(results.study.name)}"
    beside = f'<p><a href="{ROWS}">All figures (CSV)</a>, <a href="{SUMMARY}">as Markdown</a></p>'
    body = [f"<h1>{title}</h1>", _section(question), beside]
    if pictures:
        body += ["<h2>Pictures</h2>", *map(_picture, pictures)]
    body += [_section(section) for section in others]
    body += _errors(results)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(section: SummarySection) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in section.text]
    if section.items:
        items = "".join(f"<li>{escape(item)}</li>" for item in section.items)
        parts.append(f"<ul>{items}</ul>")
    return "\n".join([*parts, *map(_table, section.tables)])


def _table(table: TextTable) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in table.rows
    ]
    title = escape(table.title)
    return (  # a scrollable region must be reachable by keyboard
        f'<div class="scroll" role="region" tabindex="0" aria-label="{title}"><table>'
        f"<caption>{title}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _picture(picture: StudyPicture) -> str:
    name, alt = escape(f"{PLOTS}/{picture.name}"), escape(picture.alt)
    return (
        f'<figure><img src="{name}.svg" alt="{alt}">\n<figcaption>{escape(picture.caption)} '
        f'<a href="{name}.png">PNG</a>, <a href="{name}.svg">SVG</a></figcaption></figure>'
    )


def _errors(results: Results) -> list[str]:
    """Return the full errors, collapsed."""
    return [
        f"<details><summary>{escape(failure.arm.label)}, seed {failure.seed}</summary>"
        f"<pre>{escape(failure.error.strip())}</pre></details>"
        for failure in results.failures
    ]
