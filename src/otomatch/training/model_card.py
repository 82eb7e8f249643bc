"""Model card: the README of a model folder."""

from otomatch.evaluation.retrieval import RetrievalReport
from otomatch.evaluation.tables import markdown_table, report_columns, report_rows


def format_model_card(title: str, report: RetrievalReport, measured_on: str, settings: str) -> str:
    """Return the README of a model folder, as Markdown.

    Args:
        title: Heading.
        report: Retrieval of the model.
        measured_on: Data that the report was measured on.
        settings: Configuration of the run, as TOML.
    """
    gap = "unknown" if report.modality_gap is None else f"{report.modality_gap:.3f}"
    return f"""---
library_name: otomatch
tags: [audio-text-retrieval, optimal-transport]
---

# {title}

Embeds sounds and descriptions in one space; trained with otomatch.

```python
import otomatch

model = otomatch.AudioTextModel.from_pretrained("path/to/this/folder")
distances = model.distance(model.embed_audio(["a.wav"]), model.embed_text(["a dog barks"]))
```

## Measured

On {measured_on}: {report.clips} clips, {report.captions} captions; modality gap {gap}.
Recall in percent. "plan (transductive)" ranks by one transport plan over the whole test set and is
not comparable with per-query ranking.

{markdown_table(report_columns(report), report_rows(report))}

## Training

```toml
{settings.strip()}
```
"""
