"""Training: projected gradient descent on the transport loss, or on a baseline.

A run is a folder, see `otomatch.training.run_folder`. Starting a run that exists resumes it; on a
CPU the weights are then bit for bit those of a run that was never interrupted.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from rich.console import Console

from otomatch.errors import InvalidInputError
from otomatch.evaluation.evaluator import Evaluation, evaluate, score_embeddings
from otomatch.evaluation.retrieval import RetrievalReport
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import audio_encoder, text_encoder
from otomatch.parallel import process_group
from otomatch.parallel.batch_norm import convert_batch_norm
from otomatch.training.batches import BatchLoader, EpochBatches, PairCollator
from otomatch.training.config import Config
from otomatch.training.data import TrainingData, prepare_data
from otomatch.training.diagnostics import Expectations, warn_of_failures
from otomatch.training.log_row import epoch_row
from otomatch.training.mismatch.pair_weights import PairWeights
from otomatch.training.objective import Objective
from otomatch.training.optim import parameter_groups, resolve_precision
from otomatch.training.progress import Show, epoch_line, print_skipped, progress_bar
from otomatch.training.run_folder import MODEL, check_folder, claim_folder, write_spectrum
from otomatch.training.saving import RunSaver
from otomatch.training.state import RunState
from otomatch.training.step import TrainingStep, divergence
from otomatch.training.trackers import Track, tracking
from otomatch.transport.spectrum import eigenvalues


@dataclass(frozen=True)
class TrainingResult:
    """Result of a run.

    Attributes:
        folder: Folder of the run.
        model: Folder of its best model.
        report: Retrieval of the best model on the data set's test split, or on the validation
            clips if there is none.
        epochs: Number of epochs trained.
        steps: Number of updates of the weights.
        best_epoch: Epoch of the best model, from 1.
    """

    folder: Path
    model: Path
    report: Evaluation
    epochs: int
    steps: int
    best_epoch: int


@dataclass(frozen=True)
class _Run:
    """Parts of a run, built in the order of `train`; the same on every process."""

    config: Config
    folder: Path
    console: Console
    model: AudioTextModel
    data: TrainingData
    loader: BatchLoader
    pair_weights: PairWeights | None
    step: TrainingStep
    saver: RunSaver
    state: RunState


def train(config: Config, run: str | Path, *, progress: bool = True) -> TrainingResult:
    """Train a model, or resume a run that was interrupted.

    The processes that torchrun has started share every batch: a run gives the same model, up to
    rounding and dropout, on any number of them.

    Args:
        config: Configuration of the run, see `load_config`.
        run: Folder of the run; it is created if needed.
        progress: Show progress bars and a line per epoch.

    Raises:
        DatasetError: The data set cannot be opened, or has too few usable clips.
        RunError: The folder belongs to another run or is damaged.
        DivergedError: The loss, the gradient or the weights are no longer finite.
    """
    process_group.initialize()
    console = Console(stderr=True, quiet=not progress or process_group.rank() > 0)
    parts = _build(config, Path(run), console)
    state, epochs = parts.state, config.optim.epochs
    active = process_group.rank() == 0 and not state.finished
    with (
        tracking(parts.folder, state.epoch + 1, config, active) as track,
        progress_bar(console, len(parts.loader), epochs) as show,
    ):
        while not state.finished:
            started = time.monotonic()
            _train_epoch(parts, show)
            trained = time.monotonic()
            report = _validate(parts)
            ended = time.monotonic()
            _end_epoch(parts, report, (ended - started, ended - trained), track)
    return _report(parts)


def _build(config: Config, folder: Path, console: Console) -> _Run:
    """Build the parts of a run, and resume it from its checkpoint if there is one."""
    accelerator = _accelerator(config)
    process_group.rank_zero_first(lambda: check_folder(folder, config))
    torch.manual_seed(config.run.seed)
    model = build_model(config).to(accelerator.device)
    data = process_group.rank_zero_first(lambda: prepare_data(config, model, console))
    print_skipped(console, data.skipped)
    if process_group.rank() == 0:
        claim_folder(folder, config, data.fingerprint, data.noise)
    if process_group.world_size() > 1:
        convert_batch_norm(model)
    loader = _loader(config, model, data)
    pair_weights = _pair_weights(config, data, accelerator.device)
    objective = Objective(config, pair_weights)
    optimizer = torch.optim.AdamW(parameter_groups(model, config.optim))
    peaks = [group["lr"] for group in optimizer.param_groups]
    saver = RunSaver(folder, config, model, optimizer, pair_weights)
    state = saver.resume(console)
    prepared = accelerator.prepare(optimizer)
    step = TrainingStep(config, accelerator, model, data, loader, objective, prepared, peaks)
    return _Run(config, folder, console, model, data, loader, pair_weights, step, saver, state)


def _train_epoch(run: _Run, show: Show) -> None:
    state = run.state
    run.model.train()
    run.step.optimizer.zero_grad()
    saved = waiting = time.monotonic()
    for batch in run.loader.epoch(state.epoch, state.step):
        state.add({"data_wait": time.monotonic() - waiting})
        values = run.step(batch, state.epoch, state.step)
        state.add(values)
        state.step += 1
        show(state.epoch, state.step, values)
        if _checkpoint_due(run, saved):
            run.saver.save(state)
            saved = time.monotonic()
        waiting = time.monotonic()


def _checkpoint_due(run: _Run, saved: float) -> bool:
    """Return True if the last checkpoint is old and the weights were just updated."""
    late = time.monotonic() - saved > 60 * run.config.run.checkpoint_minutes
    updated = run.step.accumulation.updates_after(run.state.step - 1)
    return updated and process_group.broadcast(late)


def _validate(run: _Run) -> RetrievalReport:
    pairs = run.data.embed_validation(run.model)
    try:
        return score_embeddings(run.model, pairs.audio, pairs.text, pairs.text_clip)
    except InvalidInputError as error:
        raise divergence(run.config, run.state.epoch, run.state.step, str(error)) from error


def _end_epoch(
    run: _Run, report: RetrievalReport, seconds: tuple[float, float], track: Track
) -> None:
    """Estimate the weights of the pairs, then log, save and print the epoch."""
    state, config = run.state, run.config
    if run.pair_weights is not None:
        run.pair_weights.update(run.model, state.epoch)
    clean_share = None if run.pair_weights is None else run.pair_weights.clean_share
    spectrum = eigenvalues(run.model.ground.matrix)
    row = epoch_row(state, report, seconds, spectrum, clean_share)
    if state.end_epoch(row, config.optim.epochs, config.run.patience):
        clips = f"the validation clips of {run.data.name}, after epoch {state.epoch}"
        run.saver.save_model(report, clips)
    track(row)
    warn_of_failures(state.log, _expectations(run), state.warned)
    if process_group.rank() == 0:
        write_spectrum(run.folder, state.epoch, spectrum.tolist())
    run.saver.save(state)
    line = epoch_line(row, config.optim.epochs, state.best_epoch)
    run.console.print(line, soft_wrap=True, highlight=False)


def _report(run: _Run) -> TrainingResult:
    """Measure the best model on the test set."""
    process_group.barrier()  # rank 0 has written the model
    folder, state = run.folder / MODEL, run.state
    model = AudioTextModel.from_pretrained(folder).to(run.step.accelerator.device)
    report = evaluate(model, run.data.test, progress=not run.console.quiet)
    run.saver.save_report(report)
    steps = state.epoch * run.step.accumulation.updates
    return TrainingResult(run.folder, folder, report, state.epoch, steps, state.best_epoch)


def build_model(config: Config) -> AudioTextModel:
    """Return an untrained model as the configuration describes it."""
    audio, text = config.audio, config.text
    return AudioTextModel(
        audio_encoder(audio.encoder, trainable=audio.trainable, **audio.settings),
        text_encoder(text.encoder, **text.model_dump(exclude={"encoder"})),
        ground=config.ground.model_dump(),
        **config.model.model_dump(),
    )


def _accelerator(config: Config) -> Accelerator:
    AcceleratorState._reset_state()  # allows another precision in a second run of this process
    return Accelerator(mixed_precision=resolve_precision(config.run.precision))


def _loader(config: Config, model: AudioTextModel, data: TrainingData) -> BatchLoader:
    optim, seed = config.optim, config.run.seed
    captions = [data.train_captions[clip] for clip in data.train_clips]
    frames = 1 if data.encoded else model.window_frames
    collator = PairCollator(data.sounds, data.train_clips, captions, frames, seed)
    batches = EpochBatches(len(data.train_clips), optim.batch, optim.drop_last, seed)
    return BatchLoader(batches, collator)


def _pair_weights(config: Config, data: TrainingData, device: torch.device) -> PairWeights | None:
    if getattr(config.loss, "mass", None) != "auto":
        return None
    return PairWeights(
        data,
        config.model.dim,
        config.run.seed,
        by_clip=config.mismatch.unit == "clip",
        similar=config.mismatch.null == "similar",
        device=device,
    )


def _expectations(run: _Run) -> Expectations:
    config = run.config
    rank = getattr(config.ground, "rank", config.model.dim)
    return Expectations(run.loader.batches.size, rank, config.data.noise)
