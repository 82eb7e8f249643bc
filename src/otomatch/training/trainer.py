"""Train a model: projected gradient descent on the transport loss, or on a baseline.

A run is a folder: ``config.toml`` as resolved, ``data.sha256`` (a fingerprint of its data),
``log.csv`` and ``spectrum.csv`` (the eigenvalues of M) with a row per epoch, ``noise.json`` where
captions were exchanged, ``checkpoint/``, ``model/`` (the best epoch) and ``report.json``. Starting
a run that exists resumes it; on a CPU the weights are then bit for bit those of a run that was
never stopped.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.state import AcceleratorState
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader

from otomatch.errors import InvalidInputError, RunError
from otomatch.evaluation.evaluator import evaluate, score_embeddings
from otomatch.evaluation.retrieval import RetrievalReport
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import audio_encoder, text_encoder
from otomatch.parallel import process_group
from otomatch.parallel.batch_norm import convert_batch_norm
from otomatch.training import checkpoint, progress
from otomatch.training import run_folder as journal
from otomatch.training.augmentation import spec_augment
from otomatch.training.batches import Batch, EpochBatches, PairCollator
from otomatch.training.config import Config, dump_toml
from otomatch.training.data import prepare
from otomatch.training.diagnostics import gradient_norms
from otomatch.training.mismatch.pair_weights import PairEvidence, write_pairs
from otomatch.training.model_card import model_card
from otomatch.training.monitor import Monitor
from otomatch.training.objective import Objective
from otomatch.training.optim import parameter_groups, precision, schedule
from otomatch.training.progress import print_skipped
from otomatch.training.sections import MatchingConfig
from otomatch.transport.spectrum import eigenvalues, summarize_spectrum


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        folder: the run.
        model: folder of its best model.
        report: of the best model, on the data set's test split, or on the validation clips where
            it has none.
        epochs: epochs trained.
        steps: updates of the weights in these.
        best_epoch: the epoch of the best model, from 1.
    """

    folder: Path
    model: Path
    report: RetrievalReport
    epochs: int
    steps: int
    best_epoch: int


def train(config: Config, run: str | Path, *, progress: bool = True) -> TrainingResult:
    """Train a model, or go on with a run that was interrupted.

    Where torchrun has started several processes, they share every batch: a run gives the same model
    (up to rounding and dropout) on any number of them.

    Args:
        config: everything that defines the run, see `load_config`.
        run: its folder, created if need be.
        progress: show progress bars and a line per epoch.

    Raises:
        DatasetError: the data set cannot be opened, or has too few usable clips.
        RunError: the folder belongs to another run or is damaged, or the loss became NaN.
    """
    process_group.initialize()
    console = Console(stderr=True, quiet=not progress or process_group.rank() > 0)
    trainer = _Trainer(config, Path(run), console)
    trainer.fit()
    return trainer.result()


@dataclass
class _State:
    """How far a run has come; kept in its checkpoints as JSON."""

    epoch: int = 0
    step: int = 0
    best_score: float = -1.0
    best_epoch: int = 0
    finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    log: list[dict[str, float]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def add(self, values: Mapping[str, float]) -> None:
        """Add figures of a step to those of its epoch."""
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
            self.counts[key] = self.counts.get(key, 0) + 1


class _Trainer:
    """One run: its data, model, optimiser and progress; the same on every process."""

    def __init__(self, config: Config, run: Path, console: Console) -> None:
        self.config, self.run, self.console = config, run, console
        AcceleratorState._reset_state()  # or a second run could not have another precision
        self.accelerator = Accelerator(mixed_precision=precision(config.run.precision))
        process_group.rank_zero_first(lambda: journal.check_folder(run, config))
        torch.manual_seed(config.run.seed)
        self.model = build_model(config).to(self.accelerator.device)
        self.material = process_group.rank_zero_first(lambda: prepare(config, self.model, console))
        print_skipped(console, self.material.skipped)
        self.leads = process_group.rank() == 0
        if self.leads:
            journal.claim_folder(run, config, self.material.fingerprint, self.material.noise)
        if process_group.world_size() > 1:
            convert_batch_norm(self.model)
        self.collator = self._collator()
        optimizer = torch.optim.AdamW(parameter_groups(self.model, config.optim))
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.evidence = self._evidence()
        self.objective = Objective(config, self.evidence)
        self.batches, self.loader = self._loader()
        self.state = self._resume(optimizer)
        self.optimizer = self.accelerator.prepare(optimizer)

    def fit(self) -> None:
        state, steps, epochs = self.state, len(self.loader), self.config.optim.epochs
        active = self.leads and not state.finished
        with (
            Monitor(self.config, self.run, self.batches.size, state.epoch, active) as monitor,
            progress.progress_bar(self.console, steps, epochs) as show,
        ):
            while not state.finished:
                started = time.monotonic()
                self._train_epoch(show)
                trained = time.monotonic()
                report = self._validate()
                ended = time.monotonic()
                self._close_epoch(report, (ended - started, ended - trained), monitor)

    def _train_epoch(self, show: progress.Show) -> None:
        state = self.state
        self.collator.set_epoch(state.epoch)
        self.batches.set_epoch(state.epoch)
        self.model.train()
        self.optimizer.zero_grad()
        saved = waiting = time.monotonic()
        for batch in skip_first_batches(self.loader, state.step):
            state.add({"data_wait": time.monotonic() - waiting})
            values = self._step(batch)
            state.add(values)
            state.step += 1
            show(state.epoch, state.step, values)
            if self._due(saved):
                self._save()
                saved = time.monotonic()
            waiting = time.monotonic()

    def _due(self, saved: float) -> bool:
        """Whether to write a checkpoint now, between two updates."""
        late = time.monotonic() - saved > 60 * self.config.run.checkpoint_minutes
        return self._updates_after(self.state.step - 1) and process_group.broadcast(late)

    def _step(self, batch: Batch) -> dict[str, float]:
        """The gradient of one batch, and a projected step where one is due; what is logged."""
        self._set_rates()
        sounds, lengths = self._augmented(batch)
        with self.accelerator.autocast():
            text = self.material.text(batch.captions, sounds.device)
            audio, text = self.model(sounds, lengths, text)
        epochs = self.state.epoch + self.state.step / len(self.loader)
        try:
            loss = self.objective(audio, text, self.model.ground, batch, epochs)
        except InvalidInputError as error:
            raise self._diverged(str(error)) from error
        if not math.isfinite(loss.item()):
            raise self._diverged(f"the loss is {loss.item()}")
        self.accelerator.backward(loss / self._batches_per_update())
        values = {"loss": loss.item(), **self.objective.status()}
        return values | (self._descend() if self._updates_after(self.state.step) else {})

    def _augmented(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the audio encoder gets, and how long each clip is."""
        seeds = self._seed_step()
        device = self.accelerator.device
        if self.material.encoded:  # the output for one window
            return batch.features[:, 0].to(device), batch.lengths.to(device)
        hidden = spec_augment(
            batch.features,
            batch.lengths,
            seeds,
            **self.config.augment.model_dump(),
            place=self.batches.place(self.state.step),
        )
        return hidden.to(device), batch.lengths.to(device)

    def _updates_after(self, step: int) -> bool:
        """Whether the weights are updated after a step: every `accumulate`, and the last one."""
        return (step + 1) % self.config.optim.accumulate == 0 or step + 1 == len(self.loader)

    def _batches_per_update(self) -> int:
        every = self.config.optim.accumulate
        first = self.state.step // every * every
        return min(every, len(self.loader) - first)

    def _descend(self) -> dict[str, float]:
        """One projected gradient step; returns the gradient's norm, whole and by part."""
        process_group.average_gradients(self.model.parameters())
        self.accelerator.unscale_gradients()
        parts = gradient_norms(self.model)
        clip = self.config.optim.clip_norm
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), clip).item()
        # In float16 a scaler skips such a step and goes on with a smaller scale.
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise self._diverged(f"the norm of the gradient is {norm}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.ground.project_()
        return {"grad_norm": norm, **{name: value.item() for name, value in parts.items()}}

    def _seed_step(self) -> np.random.Generator:
        # Dropout and SpecAugment depend on where the run is, not on how it got there.
        place = [self.config.run.seed, self.state.epoch, self.state.step]
        own = [process_group.rank()] if process_group.rank() else []
        torch.manual_seed(int(np.random.SeedSequence([*place, 2, *own]).generate_state(1)[0]))
        return np.random.default_rng([*place, 3])

    def _set_rates(self) -> None:
        total = len(self.loader) * self.config.optim.epochs
        done = self.state.epoch * len(self.loader) + self.state.step
        factor = schedule(done, total, self.config.optim.warmup)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor

    def _validate(self) -> RetrievalReport:
        audio, text, text_clip = self.material.embed_validation(self.model)
        try:
            return score_embeddings(self.model, audio, text, text_clip)
        except InvalidInputError as error:
            raise self._diverged(str(error)) from error

    def _close_epoch(
        self, report: RetrievalReport, seconds: tuple[float, float], monitor: Monitor
    ) -> None:
        state, score = self.state, progress.score(report)
        if self.evidence is not None:
            self.evidence.update(self.model, state.epoch)
        values = eigenvalues(self.model.ground.matrix)
        state.log.append(self._row(report, seconds, values))
        state.epoch, state.step, state.sums, state.counts = state.epoch + 1, 0, {}, {}
        if score > state.best_score:
            state.best_score, state.best_epoch = score, state.epoch
            self._save_best(report)
        waited = state.epoch - state.best_epoch
        patience = self.config.run.patience
        state.finished = state.epoch >= self.config.optim.epochs or 0 < patience <= waited
        monitor.follow(state.log, state.warned)
        if self.leads:
            journal.write_spectrum(self.run, state.epoch, values.tolist())
        self._save()
        line = progress.epoch_line(state.log[-1], self.config.optim.epochs, state.best_epoch)
        self.console.print(line, soft_wrap=True, highlight=False)

    def _row(
        self, report: RetrievalReport, seconds: tuple[float, float], values: Tensor
    ) -> dict[str, float]:
        """What is logged of an epoch; everything but the wait for data is a mean over its steps."""
        state = self.state
        means = {key: value / state.counts[key] for key, value in state.sums.items()}
        means["data_wait"] = state.sums["data_wait"]
        whole, validation = (round(value, 2) for value in seconds)
        times = {"seconds": whole, "validation_seconds": validation}
        row = {"epoch": state.epoch + 1, **times, **means}
        if self.evidence is not None:
            row["clean_share"] = self.evidence.clean_share
        row |= summarize_spectrum(values)
        return row | {"score": progress.score(report), **progress.flat(report)}

    def _save(self) -> None:
        evidence = None if self.evidence is None else self.evidence.tensors()
        if not self.leads:
            return
        checkpoint.write(
            self.run / "checkpoint",
            checkpoint.capture(self.model, self.optimizer, asdict(self.state), evidence),
        )
        if self.evidence is not None:
            write_pairs(self.run, self.evidence)
        journal.write_log(self.run, self.state.log)

    def _save_best(self, report: RetrievalReport) -> None:
        if not self.leads:
            return
        card = model_card(
            self.run.name,
            report,
            f"the validation clips of {self.material.name}, after epoch {self.state.epoch}",
            dump_toml(self.config),
        )
        self.model.save_pretrained(self.run / "model", card)

    def _resume(self, optimizer: torch.optim.Optimizer) -> _State:
        saved = checkpoint.read(self.run / "checkpoint")
        process_group.barrier()  # nobody writes the next one before all have read this one
        if saved is None:
            return _State()
        checkpoint.restore(saved, self.model, optimizer)
        state = _State(**saved.progress)
        if self.evidence is not None:
            self.evidence.restore(saved.extra)
        if self.leads:
            journal.write_log(self.run, state.log)  # a kill may have come before the last row
        if not state.finished:
            at = f"epoch {state.epoch + 1}, step {state.step + 1}"
            self.console.print(f"Resuming {self.run} at {at}", soft_wrap=True, highlight=False)
        return state

    def _evidence(self) -> PairEvidence | None:
        loss = self.config.loss
        if not isinstance(loss, MatchingConfig) or loss.mass != "auto":
            return None
        return PairEvidence(
            self.material,
            self.config.model.dim,
            self.config.run.seed,
            by_clip=self.config.mismatch.unit == "clip",
            similar=self.config.mismatch.null == "similar",
            device=self.accelerator.device,
        )

    def _collator(self) -> PairCollator:
        material = self.material
        return PairCollator(
            material.sounds,
            material.train_clips,
            [material.train_captions[clip] for clip in material.train_clips],
            1 if material.encoded else self.model.window_frames,
            self.config.run.seed,
        )

    def _loader(self) -> tuple[EpochBatches, DataLoader[int]]:
        size, optim = len(self.material.train_clips), self.config.optim
        batches = EpochBatches(size, optim.batch, optim.drop_last, self.config.run.seed)
        return batches, DataLoader(
            cast(Any, range(size)),
            batch_sampler=batches,
            collate_fn=self.collator,
            generator=torch.Generator(),  # so that iterating leaves the global one alone
        )

    def _diverged(self, what: str) -> RunError:
        return RunError(
            f"training diverged at epoch {self.state.epoch + 1}, step {self.state.step + 1}: "
            f"{what}; lower optim.lr (now {self.config.optim.lr}) or raise optim.warmup"
        )

    def result(self) -> TrainingResult:
        """Measure the best model, on the test split if there is one, and write it down."""
        process_group.barrier()  # for the model's folder
        model = AudioTextModel.from_pretrained(self.run / "model").to(self.accelerator.device)
        dataset = self.material.final
        report = evaluate(model, dataset, progress=not self.console.quiet)
        if self.leads:
            text = json.dumps(report.to_dict(), indent=2) + "\n"
            (self.run / "report.json").write_text(text, encoding="utf-8")
            card = model_card(self.run.name, report, dataset.name, dump_toml(self.config))
            (self.run / "model" / "README.md").write_text(card, encoding="utf-8")
        state = self.state
        steps = state.epoch * math.ceil(len(self.loader) / self.config.optim.accumulate)
        folder = self.run / "model"
        return TrainingResult(self.run, folder, report, state.epoch, steps, state.best_epoch)


def build_model(config: Config) -> AudioTextModel:
    """An untrained model as the configuration describes it."""
    audio, text = config.audio, config.text
    return AudioTextModel(
        audio_encoder(audio.encoder, trainable=audio.trainable, **audio.settings),
        text_encoder(text.encoder, **text.model_dump(exclude={"encoder"})),
        ground=config.ground.model_dump(),
        **config.model.model_dump(),
    )
