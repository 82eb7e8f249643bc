"""What the study of the batch measures beside its grid: plans of batches, and the loss's own cost.

Tables are kept as JSON in the study's folder, with the cell they were measured on.
"""

import json
from collections.abc import Sequence
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
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import embed_pairs
from otomatch.studies.cells import RUN, Cell, write
from otomatch.studies.loss_cost import loss_cost
from otomatch.training.config import Config
from otomatch.training.sections import MatchingConfig

FILE = "extra.json"
PAIRS, PARTITIONS = 1024, 20
BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024)
COST_BATCHES = (*BATCHES[1:], 2048)
LOSSES = ("matching", "ntxent", "triplet")

Table = list[dict[str, Any]]


def read_extra(folder: Path) -> dict[str, Table]:
    """The tables in a study's folder; none where nothing was measured."""
    found = _read(folder)
    return {name: found[name]["rows"] for name in found}


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def measure_extra(folder: Path, cells: Sequence[Cell], console: Console) -> None:
    """Measure what is not there yet; plans on the first trained m-LTM of the grid.

    Args:
        folder: of the study.
        cells: of its grid.
        console: shows what is going on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = [c for c in cells if c.done and isinstance(c.config.loss, MatchingConfig)]
    with FileLock(folder / "extra.lock"):  # two that measure time would slow each other down
        tables = _read(folder)
        if "loss_cost" not in tables:
            console.print("Measuring time and memory of the losses ...")
            tables["loss_cost"] = {"of": "", "rows": _loss_costs()}
            write(folder / FILE, json.dumps(tables, indent=1))
        if not trained:
            return
        middle = min(trained, key=lambda c: (abs(c.config.optim.batch - 128), c.seed))
        if tables.get("plan_approximation", {}).get("of") != middle.key:
            console.print("Comparing plans of batches with the plan of all pairs ...")
            rows = plan_table(middle.folder / RUN / "model", middle.config)
            tables["plan_approximation"] = {"of": middle.key, "rows": rows}
            write(folder / FILE, json.dumps(tables, indent=1))


def plan_table(folder: Path, config: Config) -> Table:
    """How well plans of batches approximate the plan of many training pairs.

    Args:
        folder: of a trained model.
        config: of its run, which says on what data.
    """
    cost = _training_cost(AudioTextModel.from_pretrained(folder), open_dataset(config.data.path))
    epsilon = config.loss.epsilon if isinstance(config.loss, MatchingConfig) else 0.05
    rows: Table = []
    for scale in ("full", "batch"):
        for batch in (size for size in BATCHES if size <= len(cost)):
            found = plan_approximation(cost, epsilon, batch, PARTITIONS, scale=scale)
            rows.append({"pairs": len(cost), "batch": batch, "scale": scale, **asdict(found)})
    return rows


def _training_cost(model: AudioTextModel, dataset: CaptionDataset) -> Tensor:
    """Cost between clips that the model was trained on and one caption each, largest 1."""
    clips = [clip for clip in dataset.clips if clip.captions and clip.split in (None, "train")]
    order = np.random.default_rng(0).permutation(len(clips))[:PAIRS]
    chosen = tuple(replace(clips[row], captions=clips[row].captions[:1]) for row in order)
    pairs = embed_pairs(model, replace(dataset, clips=chosen))
    cost = model.distance(pairs.audio, pairs.text[torch.tensor(pairs.text_clip).argsort()])
    return cost / cost.max()


def _loss_costs() -> Table:
    rows: Table = []
    for name in LOSSES:
        for batch in COST_BATCHES:
            rows.append({"loss": name, "batch": batch, **asdict(loss_cost(name, batch, dim=256))})
    return rows
