"""What training learns about its own pairs: which captions are wrong, epoch by epoch.

The embeddings of an epoch's batches are remembered as they come by, so that judging the pairs
costs no second pass over the sounds. After each epoch every pair gets a new weight.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import mean_caption_vectors
from otomatch.parallel import process_group
from otomatch.training.data import Material
from otomatch.training.mismatch.p_values import Ints, nearest, pair_weights, rank_p_values
from otomatch.training.mismatch.table import COLUMNS, FILE


class PairEvidence:
    """The weights of the training pairs, and what the next ones are estimated from.

    Args:
        material: of the run.
        dim: dimensions of the joint space.
        seed: of the run.
        by_clip: whether a clip's captions are right or wrong together, or one by one.
        similar: compare each with captions that mean nearly the same, not with random ones.
        device: where processes exchange tensors.

    Attributes:
        weights: (captions,) how sure it is that each caption describes the clip it trains with;
            1 until the first estimate.
        clean_share: estimated share of right pairs; 1 until then.
    """

    def __init__(
        self,
        material: Material,
        dim: int,
        seed: int,
        *,
        by_clip: bool,
        similar: bool,
        device: torch.device,
    ) -> None:
        self.material, self.seed, self.device = material, seed, device
        self.by_clip, self.similar = by_clip, similar
        self.weights = torch.ones(len(material.captions))
        self.p_values = torch.ones(len(material.captions))
        self.clean_share = 1.0
        sides = 1 if material.states is not None else 2
        self._seen = torch.zeros(sides, len(material.sounds), dim)
        self._near: tuple[list[list[int]], Ints] | None = None
        self._drawn = torch.full((len(material.sounds),), -1)

    def record(self, clips: Tensor, captions: Tensor, audio: Tensor, text: Tensor) -> None:
        """Remember the embeddings (B, D) of a batch."""
        for memory, vectors in zip(self._seen, (audio, text), strict=False):
            memory[clips] = vectors.detach().float().cpu()
        self._drawn[clips] = captions

    def update(self, model: AudioTextModel, epoch: int) -> None:
        """Judge all pairs that came by since the last call, and forget their embeddings."""
        self._collect()
        clips = (self._drawn >= 0).nonzero().squeeze(1).tolist()
        if len(clips) > 1:
            self._judge(model, clips, epoch)
        judged = (self.weights, self.p_values, self.clean_share)
        self.weights, self.p_values, self.clean_share = process_group.broadcast(judged)
        self._forget()

    def _judge(self, model: AudioTextModel, clips: list[int], epoch: int) -> None:
        rows, text = self._captions(model, clips)
        p = rank_p_values(
            model.whiten(self._seen[0][clips]),
            model.whiten(text),
            np.repeat(np.arange(len(clips)), [len(group) for group in rows]),
            by_clip=self.by_clip,
            rivals=self._rivals(rows) if self.similar else None,
            seed=[self.seed, epoch, 5],
        )
        found = pair_weights(p)
        self.clean_share = found.clean_share
        for group, value, weight in zip(self._judged(clips, rows), p, found.weights, strict=True):
            self.p_values[group], self.weights[group] = float(value), float(weight)

    def _collect(self) -> None:
        """Bring what the processes have seen to the first one."""
        self._seen = process_group.reduce_sum(self._seen, self.device)
        self._drawn = process_group.reduce_sum(self._drawn + 1, self.device) - 1
        if process_group.rank():
            self._forget()

    def _forget(self) -> None:
        self._seen.zero_()
        self._drawn.fill_(-1)

    def _captions(
        self, model: AudioTextModel, clips: Sequence[int]
    ) -> tuple[list[list[int]], Tensor]:
        """The captions that each clip is judged by, and their embeddings."""
        states = self.material.states
        if states is None:  # a fine-tuned text encoder: the captions of this epoch
            drawn = self._drawn[list(clips)].tolist()
            return [[row] for row in drawn], self._seen[1][list(clips)]
        rows = [self.material.train_captions[clip] for clip in clips]
        return rows, model.embed_text(states[[row for group in rows for row in group]])

    def _rivals(self, rows: list[list[int]]) -> Ints:
        """For each item that is judged, those whose captions mean nearly the same."""
        groups = rows if self.by_clip else [[row] for group in rows for row in group]
        if self._near is None or self._near[0] != groups:  # alike in every epoch, mostly
            captions = self.material.captions
            found = nearest(
                mean_caption_vectors([[captions[row] for row in group] for group in groups])
            )
            self._near = groups, found
        return self._near[1]

    def _judged(self, clips: Sequence[int], rows: list[list[int]]) -> list[list[int]]:
        """The captions that each p-value speaks of."""
        if self.by_clip:
            return [self.material.train_captions[clip] for clip in clips]
        return [[row] for group in rows for row in group]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must keep, on the first process; all of them must call it."""
        self._collect()
        return {
            "weights": self.weights,
            "p_values": self.p_values,
            "clean_share": torch.tensor(self.clean_share, dtype=torch.float64),
            "seen": self._seen,
            "drawn": self._drawn,
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Undo `tensors`."""
        self.weights, self.p_values = tensors["weights"], tensors["p_values"]
        self.clean_share = float(tensors["clean_share"].item())
        if process_group.rank() == 0:
            self._seen, self._drawn = tensors["seen"], tensors["drawn"]

    def table(self) -> str:
        """The training pairs with their p-values and weights, as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for clip in self.material.train_clips:
            for row in self.material.train_captions[clip]:
                numbers = (self.p_values[row].item(), self.weights[row].item())
                name, caption = self.material.ids[clip], self.material.captions[row]
                writer.writerow([name, caption, *(f"{number:.6g}" for number in numbers)])
        return text.getvalue()


def write_pairs(run: Path, evidence: PairEvidence) -> None:
    """Replace the run's pairs.csv."""
    partial = run / f"{FILE}.partial"
    partial.write_text(evidence.table(), encoding="utf-8")
    partial.replace(run / FILE)
