"""Saving and resuming a run: checkpoints, the best model, the final report."""

from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from otomatch.evaluation.evaluator import Evaluation
from otomatch.evaluation.retrieval import RetrievalReport
from otomatch.files import write_text
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.parallel import process_group
from otomatch.training import checkpoint
from otomatch.training.config import Config, dump_toml
from otomatch.training.mismatch.pair_weights import PairWeights
from otomatch.training.model_card import format_model_card
from otomatch.training.run_folder import CHECKPOINT, MODEL, write_log, write_report
from otomatch.training.state import RunState


class RunSaver:
    """Saves a run to its folder, and resumes it; only rank 0 writes.

    Args:
        run: Folder of the run.
        config: Configuration of the run.
        model: Model being trained.
        optimizer: Its optimiser.
        pair_weights: Weights of the training pairs; None if they are not estimated.
    """

    def __init__(
        self,
        run: Path,
        config: Config,
        model: AudioTextModel,
        optimizer: torch.optim.Optimizer,
        pair_weights: PairWeights | None,
    ) -> None:
        self.run, self.config = run, config
        self.model, self.optimizer, self.pair_weights = model, optimizer, pair_weights

    def resume(self, console: Console) -> RunState:
        """Restore the last checkpoint, and return the progress; a new state if there is none."""
        saved = checkpoint.read(self.run / CHECKPOINT)
        process_group.barrier()  # the next one is written after all processes have read this one
        if saved is None:
            return RunState()
        checkpoint.restore(saved, self.model, self.optimizer)
        state = RunState(**saved.progress)
        if self.pair_weights is not None:
            self.pair_weights.restore(saved.extra)
        if process_group.rank() == 0:
            write_log(self.run, state.log)  # a killed process may not have written the last row
        if not state.finished:
            place = f"epoch {state.epoch + 1}, step {state.step + 1}"
            console.print(f"Resuming {self.run} at {place}", soft_wrap=True, highlight=False)
        return state

    def save(self, state: RunState) -> None:
        """Write a checkpoint, the log and the weights of the pairs; a collective call."""
        extra = None if self.pair_weights is None else self.pair_weights.tensors()
        if process_group.rank():
            return
        saved = checkpoint.capture(self.model, self.optimizer, asdict(state), extra)
        checkpoint.write(self.run / CHECKPOINT, saved)
        if self.pair_weights is not None:
            self.pair_weights.write(self.run)
        write_log(self.run, state.log)

    def save_model(self, report: RetrievalReport, measured_on: str) -> None:
        """Replace the run's model by the current one, with a card."""
        if process_group.rank() == 0:
            self.model.save_pretrained(self.run / MODEL, self._card(report, measured_on))

    def save_report(self, report: Evaluation) -> None:
        """Write the report of the best model, also to its card."""
        if process_group.rank() == 0:
            write_report(self.run, report.to_dict())
            card = self._card(report, report.dataset)
            write_text(self.run / MODEL / "README.md", card)

    def _card(self, report: RetrievalReport, measured_on: str) -> str:
        return format_model_card(self.run.name, report, measured_on, dump_toml(self.config))
