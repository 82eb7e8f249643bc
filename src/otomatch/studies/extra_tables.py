"""Tables measured in addition to a grid: plans of batches, and the cost of the losses alone.

They are kept as JSON in the study's folder, with the cell they were measured on.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from torch import Tensor

from otomatch.datasets import CaptionDataset, open_dataset
from otomatch.evaluation.minibatch_plans import plan_approximation
from otomatch.files import write_text
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import embed_dataset
from otomatch.studies.cells import RUN, Cell
from otomatch.studies.loss_cost import measure_loss_cost
from otomatch.training.config import Config
from otomatch.training.sections import MatchingConfig

FILE = "extra.json"
PAIRS, PARTITIONS = 1024, 20
"""Largest number of training pairs, and number of partitions, to compare plans on."""
BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Batches whose plans are compared with the plan of all pairs."""
COST_BATCHES = (*BATCHES[1:], 2048)
COMPARED_LOSSES = ("matching", "ntxent", "triplet")
"""Losses whose cost is measured, with batches of `COST_BATCHES`."""

Rows = list[dict[str, Any]]


def read_extra(folder: Path) -> dict[str, Rows]:
    """Return the extra tables in a study's folder by name."""
    found = _read(folder)
    return {name: found[name]["rows"] for name in found}


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def measure_extra(
    names: Collection[str], folder: Path, cells: Sequence[Cell], console: Console
) -> None:
    """Measure the extra tables that a study's folder lacks.

    Args:
        names: Names of the tables: "loss_cost", and "plan_approximation", measured on the trained
            m-LTM whose batch is closest to 128.
        folder: Folder of the study.
        cells: Cells of its grid.
        console: Console that shows the progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = [c for c in cells if c.done and isinstance(c.config.loss, MatchingConfig)]
    with FileLock(folder / "extra.lock"):  # two processes would distort each other's times
        tables = _read(folder)
        if "loss_cost" in names and "loss_cost" not in tables:
            console.print("Measuring time and memory of the losses ...")
            tables["loss_cost"] = {"of": "", "rows": _loss_costs()}
            write_text(folder / FILE, json.dumps(tables, indent=1))
        if "plan_approximation" not in names or not trained:
            return
        middle = min(trained, key=lambda c: (abs(c.config.optim.batch - 128), c.seed))
        if tables.get("plan_approximation", {}).get("of") != middle.key:
            console.print("Comparing plans of batches with the plan of all pairs ...")
            rows = plan_table(middle.folder / RUN / "model", middle.config)
            tables["plan_approximation"] = {"of": middle.key, "rows": rows}
            write_text(folder / FILE, json.dumps(tables, indent=1))


def plan_table(folder: Path, config: Config) -> Rows:
    """Return how well plans of batches approximate the plan of up to `PAIRS` training pairs.

    Args:
        folder: Folder of a trained model.
        config: Configuration of its run, which names the data.
    """
    cost = _training_cost(AudioTextModel.from_pretrained(folder), open_dataset(config.data.path))
    epsilon = config.loss.epsilon if isinstance(config.loss, MatchingConfig) else 0.05
    rows: Rows = []
    for scale in ("full", "batch"):
        for batch in (size for size in BATCHES if size <= len(cost)):
            found = plan_approximation(cost, epsilon, batch, PARTITIONS, scale=scale)
            rows.append({"pairs": len(cost), "batch": batch, "scale": scale, **asdict(found)})
    return rows


def _training_cost(model: AudioTextModel, dataset: CaptionDataset) -> Tensor:
    """Return the cost between training clips and one caption each, scaled to a maximum of 1."""
    clips = [clip for clip in dataset.clips if clip.captions and clip.split in (None, "train")]
    order = np.random.default_rng(0).permutation(len(clips))[:PAIRS]
    chosen = tuple(replace(clips[row], captions=clips[row].captions[:1]) for row in order)
    pairs = embed_dataset(model, replace(dataset, clips=chosen))
    cost = model.distance(pairs.audio, pairs.text[torch.tensor(pairs.text_clip).argsort()])
    return cost / cost.max()


def _loss_costs() -> Rows:
    return [
        {"loss": name, "batch": batch, **asdict(measure_loss_cost(name, batch, dim=256))}
        for name in COMPARED_LOSSES
        for batch in COST_BATCHES
    ]
