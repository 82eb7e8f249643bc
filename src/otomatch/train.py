"""Train a model: projected gradient descent on the transport loss, or on a baseline.

A run is a folder: ``config.toml`` as resolved, ``data.sha256`` (a fingerprint of its data),
``log.csv`` with a row per epoch, ``noise.json`` where captions were exchanged, ``checkpoint/``,
``model/`` (the best epoch) and ``report.json``. Starting a run that exists resumes it; on a CPU the
weights are then bit for bit those of a run that was never stopped.
"""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration, skip_first_batches
from accelerate.state import AcceleratorState
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader

from otomatch import checkpoint, journal
from otomatch.batches import Batch, EpochSampler, PairCollator, spec_augment
from otomatch.config import Config, MatchingConfig, dump_toml
from otomatch.contrastive import NTXentLoss, TripletLoss, WeightedTripletLoss
from otomatch.encoders import audio_encoder, text_encoder
from otomatch.errors import InvalidInputError, RunError
from otomatch.evaluate import evaluate, score_embeddings
from otomatch.evidence import PairEvidence, write_pairs
from otomatch.losses import MatchingLoss
from otomatch.material import prepare
from otomatch.model import AudioTextModel
from otomatch.optim import parameter_groups, precision, schedule
from otomatch.report import model_card, print_skipped
from otomatch.retrieval import RetrievalReport

LOSSES: dict[str, type[nn.Module]] = {
    "matching": MatchingLoss,
    "ntxent": NTXentLoss,
    "triplet": TripletLoss,
    "weighted-triplet": WeightedTripletLoss,
}

TRIMMED_MASS_EPOCHS = 3.0
"""Until cost ranks pairs, trimming would drop right ones."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        folder: the run.
        model: folder of its best model.
        report: of the best model, on the data set's test split, or on the validation clips where
            it has none.
        epochs: epochs trained.
        best_epoch: the epoch of the best model, from 1.
    """

    folder: Path
    model: Path
    report: RetrievalReport
    epochs: int
    best_epoch: int


def train(config: Config, run: str | Path, *, progress: bool = True) -> TrainingResult:
    """Train a model, or go on with a run that was interrupted.

    Args:
        config: everything that defines the run, see `load_config`.
        run: its folder, created if need be.
        progress: show progress bars and a line per epoch.

    Raises:
        DatasetError: the data set cannot be opened, or has too few usable clips.
        RunError: the folder belongs to another run or is damaged, or the loss became NaN.
    """
    folder = Path(run)
    journal.check_folder(folder, config)
    trainer = _Trainer(config, folder, Console(stderr=True, quiet=not progress))
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
    log: list[dict[str, float]] = field(default_factory=list)


class _Trainer:
    """One run: its data, model, optimiser and progress."""

    def __init__(self, config: Config, run: Path, console: Console) -> None:
        self.config, self.run, self.console = config, run, console
        AcceleratorState._reset_state()  # or a second run could not have another precision
        self.accelerator = Accelerator(
            mixed_precision=precision(config.run.precision),
            dataloader_config=DataLoaderConfiguration(split_batches=True),
        )
        if self.accelerator.num_processes > 1:
            raise RunError("training on several processes is not supported yet; start one")
        torch.manual_seed(config.run.seed)
        self.model = build_model(config).to(self.accelerator.device)
        self.material = prepare(config, self.model, console)
        print_skipped(console, self.material.skipped)
        journal.claim_folder(run, config, self.material.fingerprint, self.material.noise)
        self.collator = self._collator()
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, config.optim))
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.loss = build_loss(config)
        self.evidence = self._evidence()
        self.state = self._resume()
        self.model, self.optimizer, self.loader = self.accelerator.prepare(
            self.model, self.optimizer, self._loader()
        )

    def fit(self) -> None:
        with journal.progress_bar(self.console, len(self.loader), self.config.optim.epochs) as show:
            while not self.state.finished:
                started = time.monotonic()
                self._train_epoch(show)
                report = self._validate()
                self._close_epoch(report, time.monotonic() - started)

    def _train_epoch(self, show: journal.Show) -> None:
        state, config = self.state, self.config
        self.collator.set_epoch(state.epoch)
        self.loader.set_epoch(state.epoch)
        self.model.train()
        saved = time.monotonic()
        for batch in skip_first_batches(self.loader, state.step):
            values = self._step(batch)
            for key, value in values.items():
                state.sums[key] = state.sums.get(key, 0.0) + value
            state.step += 1
            show(state.epoch, state.step, values)
            if time.monotonic() - saved > 60 * config.run.checkpoint_minutes:
                self._save()
                saved = time.monotonic()

    def _step(self, batch: Batch) -> dict[str, float]:
        """One projected gradient step; returns what is logged."""
        seeds = self._seed_step()
        self._set_rates()
        if self.material.encoded:
            sounds = batch.features[:, 0]  # the output for one window
        else:
            augment = self.config.augment.model_dump()
            sounds = spec_augment(batch.features, batch.lengths, seeds, **augment)
        with self.accelerator.autocast():
            text = self.material.text(batch.captions, sounds.device)
            audio, text = self.model(sounds, batch.lengths, text)
        try:
            loss: Tensor = self.loss(
                audio, text, self.model.ground, batch.clips, **self._mass(batch)
            )
        except InvalidInputError as error:
            raise self._diverged(str(error)) from error
        if not math.isfinite(loss.item()):
            raise self._diverged(f"the loss is {loss.item()}")
        if self.evidence is not None:
            self.evidence.record(batch.clips, batch.captions, audio, text)
        values = {"loss": loss.item(), "grad_norm": self._descend(loss)}
        status = getattr(self.loss, "last", None)
        if status is not None:
            values |= {"sinkhorn_iterations": status.iterations, "marginal_error": status.error}
        return values

    def _mass(self, batch: Batch) -> dict[str, Tensor]:
        """Set the loss's mass for this step, or return the weights that decide it."""
        if self.evidence is not None:
            return {"weights": self.evidence.weights[batch.captions.cpu()]}
        settings = self.config.loss
        if isinstance(settings, MatchingConfig) and isinstance(settings.mass, float):
            falling = settings.mass_epochs
            if falling is None:
                falling = TRIMMED_MASS_EPOCHS if settings.target == "trimmed" else 0.0
            done = self.state.epoch + self.state.step / len(self.loader)
            share = min(1.0, done / falling) if falling else 1.0
            cast(MatchingLoss, self.loss).mass = 1 - share * (1 - settings.mass)
        return {}

    def _descend(self, loss: Tensor) -> float:
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        norm = float(
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        )
        # In float16 a scaler skips such a step and goes on with a smaller scale.
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise self._diverged(f"the norm of the gradient is {norm}")
        self.optimizer.step()
        self.model.ground.project_()
        return norm

    def _seed_step(self) -> np.random.Generator:
        # Dropout and SpecAugment depend on where the run is, not on how it got there.
        place = [self.config.run.seed, self.state.epoch, self.state.step]
        torch.manual_seed(int(np.random.SeedSequence([*place, 2]).generate_state(1)[0]))
        return np.random.default_rng([*place, 3])

    def _set_rates(self) -> None:
        total = len(self.loader) * self.config.optim.epochs
        done = self.state.epoch * len(self.loader) + self.state.step
        factor = schedule(done, total, self.config.optim.warmup)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor

    def _validate(self) -> RetrievalReport:
        material = self.material
        audio = material.embed_validation(self.model)
        rows = [row for clip in material.val_clips for row in material.caption_rows[clip]]
        text_clip = [i for i, c in enumerate(material.val_clips) for _ in material.caption_rows[c]]
        if material.states is None:
            text = self.model.embed_text([material.captions[row] for row in rows])
        else:
            text = self.model.embed_text_states(material.states[rows])
        try:
            return score_embeddings(self.model, audio, text, text_clip)
        except InvalidInputError as error:
            raise self._diverged(str(error)) from error

    def _close_epoch(self, report: RetrievalReport, seconds: float) -> None:
        state, score = self.state, journal.score(report)
        row = {"epoch": state.epoch + 1, "seconds": round(seconds, 2)}
        row |= {key: value / state.step for key, value in state.sums.items()}
        if self.evidence is not None:
            self.evidence.update(self.model, state.epoch)
            row["clean_share"] = self.evidence.clean_share
        row |= {"score": score, **journal.flat(report)}
        state.log.append(row)
        state.epoch, state.step, state.sums = state.epoch + 1, 0, {}
        if score > state.best_score:
            state.best_score, state.best_epoch = score, state.epoch
            self._save_best(report)
        waited = state.epoch - state.best_epoch
        patience = self.config.run.patience
        state.finished = state.epoch >= self.config.optim.epochs or 0 < patience <= waited
        self._save()
        line = journal.epoch_line(row, self.config.optim.epochs, state.best_epoch)
        self.console.print(line, soft_wrap=True, highlight=False)

    def _save(self) -> None:
        model = self.accelerator.unwrap_model(self.model)
        checkpoint.write(
            self.run / "checkpoint",
            checkpoint.capture(
                model,
                self.optimizer,
                asdict(self.state),
                None if self.evidence is None else self.evidence.tensors(),
            ),
        )
        if self.evidence is not None:
            write_pairs(self.run, self.evidence)
        journal.write_log(self.run, self.state.log)

    def _save_best(self, report: RetrievalReport) -> None:
        card = model_card(
            self.run.name,
            report,
            f"the validation clips of {self.material.name}, after epoch {self.state.epoch}",
            dump_toml(self.config),
        )
        self.accelerator.unwrap_model(self.model).save_pretrained(self.run / "model", card)

    def _resume(self) -> _State:
        saved = checkpoint.read(self.run / "checkpoint")
        if saved is None:
            return _State()
        checkpoint.restore(saved, self.model, self.optimizer)
        state = _State(**saved.progress)
        if self.evidence is not None:
            self.evidence.restore(saved.extra)
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
            by_clip=loss.evidence == "clip",
            similar=loss.null == "similar",
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

    def _loader(self) -> DataLoader[int]:
        size = len(self.material.train_clips)
        sampler = EpochSampler(size, self.config.run.seed)
        batches = BatchSampler(sampler, min(self.config.optim.batch, size), drop_last=True)
        return DataLoader(
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
        path = self.run / "report.json"
        model = AudioTextModel.from_pretrained(self.run / "model").to(self.accelerator.device)
        dataset = self.material.final
        report = evaluate(model, dataset, progress=not self.console.quiet)
        path.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
        card = model_card(self.run.name, report, dataset.name, dump_toml(self.config))
        (self.run / "model" / "README.md").write_text(card, encoding="utf-8")
        state = self.state
        return TrainingResult(self.run, self.run / "model", report, state.epoch, state.best_epoch)


def build_loss(config: Config) -> nn.Module:
    """The training criterion as the configuration describes it."""
    settings = config.loss.model_dump(exclude={"name", "mass_epochs", "evidence", "null"})
    loss: nn.Module = LOSSES[config.loss.name](**settings)
    return loss


def build_model(config: Config) -> AudioTextModel:
    """An untrained model as the configuration describes it."""
    audio, text = config.audio, config.text
    return AudioTextModel(
        audio_encoder(audio.encoder, trainable=audio.trainable, **audio.settings),
        text_encoder(text.encoder, **text.model_dump(exclude={"encoder"})),
        ground=config.ground.model_dump(),
        window_seconds=config.data.max_seconds,
        **config.model.model_dump(),
    )
