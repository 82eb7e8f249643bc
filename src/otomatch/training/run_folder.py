"""Files of a run's folder: its claim (config.toml, data.sha256, noise.json), logs and report.

=================  =============================================================================
config.toml        Configuration, as resolved
data.sha256        Fingerprint of the data set
noise.json         Mismatched captions, if the run trains with caption noise
log.csv            Row per epoch
spectrum.csv       Eigenvalues of the metric's M, a row per epoch
pairs.csv          Weights of the training pairs, if the run estimates them
tensorboard/       The log for TensorBoard
checkpoint/        State to resume from
model/             Model of the best epoch
report.json        Retrieval of the best model
=================  =============================================================================
"""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from otomatch.errors import RunError
from otomatch.files import PARTIAL, write_text
from otomatch.training.config import Config, dump_toml, load_config

CHECKPOINT, MODEL, REPORT = "checkpoint", "model", "report.json"
_CONFIG, _NOISE, _DATA = "config.toml", "noise.json", "data.sha256"
_LOG, _SPECTRUM = "log.csv", "spectrum.csv"


def check_folder(run: Path, config: Config) -> None:
    """Check that a folder is free, or contains this run.

    Raises:
        RunError: It contains a run with another configuration, or something else.
    """
    path = run / _CONFIG
    if path.is_file():
        if dump_toml(load_config(path)) != dump_toml(config):
            raise RunError(
                f"{run} contains a run with another configuration (see {path}); "
                "choose another folder, or delete this one"
            )
    elif run.exists() and any(not _left_by_a_kill(entry) for entry in run.iterdir()):
        raise RunError(f"{run} is not empty and contains no run; choose another folder")


def claim_folder(run: Path, config: Config, fingerprint: str, noise: dict[str, Any] | None) -> None:
    """Write what defines a run, its configuration last, or check it against what is there.

    Args:
        run: Folder of the run, which `check_folder` has passed.
        config: Configuration of the run.
        fingerprint: Fingerprint of its data.
        noise: Record of the caption noise; None without noise.

    Raises:
        RunError: The run was started on other data, or with other caption noise.
    """
    if (run / _CONFIG).is_file():
        _check_same_data(run, config, fingerprint, noise)
        _remove_partial_files(run)
        return
    run.mkdir(parents=True, exist_ok=True)
    _remove_partial_files(run)
    write_text(run / _DATA, fingerprint + "\n")
    if noise is not None:
        write_text(run / _NOISE, json.dumps(noise, indent=2, ensure_ascii=False) + "\n")
    write_text(run / _CONFIG, dump_toml(config))


def write_log(run: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Replace the run's log.csv: a header and a row per epoch."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(run / _LOG, text.getvalue())


def write_spectrum(run: Path, epoch: int, values: Sequence[float]) -> None:
    """Add an epoch's row to the run's spectrum.csv.

    The row is written before the epoch's checkpoint. Rows of this epoch and later ones, which a
    process killed between the two has left, are dropped.

    Args:
        run: Folder of the run.
        epoch: Epoch, from 1.
        values: Eigenvalues of M after the epoch, largest first, (D,).
    """
    path = run / _SPECTRUM
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    header = ",".join(["epoch", *(f"eigenvalue_{place}" for place in range(1, len(values) + 1))])
    kept = [line for line in lines if int(line.partition(",")[0]) < epoch]
    row = ",".join([str(epoch), *(f"{value:.7g}" for value in values)])  # M is float32
    write_text(path, "\n".join([header, *kept, row]) + "\n")


def read_spectrum(run: Path) -> dict[int, list[float]]:
    """Return the eigenvalues of M after each epoch, largest first, by epoch.

    Raises:
        RunError: The run has no spectrum.csv, or a malformed one.
    """
    path = run / _SPECTRUM
    if not path.is_file():
        found = "a run without one" if (run / _CONFIG).is_file() else "no run"
        raise RunError(
            f"{path}: no such file; {run} is {found}. Training writes it after every epoch: give "
            "the folder of a run, and if an earlier version trained it, train it again with this "
            "version"
        )
    try:
        with path.open(encoding="utf-8", newline="") as file:
            _, *rows = csv.reader(file)
        spectra = {int(row[0]): [float(value) for value in row[1:]] for row in rows}
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is malformed ({error}); train the run again") from error
    if not spectra or len({len(values) for values in spectra.values()}) > 1:
        raise RunError(f"{path} has no rows, or rows of several lengths; train the run again")
    return spectra


def write_report(run: Path, report: Mapping[str, Any]) -> None:
    """Replace the run's report.json."""
    write_text(run / REPORT, json.dumps(report, indent=2) + "\n")


def _check_same_data(
    run: Path, config: Config, fingerprint: str, noise: dict[str, Any] | None
) -> None:
    if (run / _DATA).read_text(encoding="utf-8").strip() != fingerprint:
        raise RunError(
            f"the data in {config.data.path} have changed since {run} was started (captions, or "
            "sizes or times of files); restore them, or start another run"
        )
    if noise is not None and json.loads((run / _NOISE).read_text(encoding="utf-8")) != noise:
        raise RunError(
            f"the caption noise differs from the one recorded in {run / _NOISE}: the sentence "
            "vectors that choose similar clips differ, as they may on another machine; continue "
            "on the machine where the run was started, or start another run"
        )


def _left_by_a_kill(entry: Path) -> bool:
    return entry.suffix == PARTIAL or entry.name in (_NOISE, _DATA)


def _remove_partial_files(run: Path) -> None:
    """Remove what a process killed while writing left behind."""
    for folder in (run, run / CHECKPOINT, run / MODEL):
        for path in folder.glob(f".*{PARTIAL}"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
