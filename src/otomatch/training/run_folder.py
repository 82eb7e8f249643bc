"""What a run says as it goes: its folder's claim, its log, a line per epoch, a progress bar."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from otomatch.errors import RunError
from otomatch.training.config import Config, dump_toml, load_config

_CONFIG, _NOISE, _DATA = "config.toml", "noise.json", "data.sha256"
_SPECTRUM = "spectrum.csv"


def check_folder(run: Path, config: Config) -> None:
    """See that a folder is free, or holds this very run.

    Raises:
        RunError: it holds a run with another configuration, or something else.
    """
    path = run / _CONFIG
    if path.is_file():
        if dump_toml(load_config(path)) != dump_toml(config):
            raise RunError(
                f"{run} holds a run with another configuration (see {path}); "
                "choose another folder, or delete this one"
            )
    elif run.exists() and any(not _left_by_a_kill(entry) for entry in run.iterdir()):
        raise RunError(f"{run} is not empty and holds no run; choose another folder")


def claim_folder(run: Path, config: Config, fingerprint: str, noise: dict[str, Any] | None) -> None:
    """Write what a run is: its data, which captions were exchanged, and then its configuration.

    Raises:
        RunError: the run was begun on other data, or with other captions exchanged.
    """
    if (run / _CONFIG).is_file():
        if (run / _DATA).read_text(encoding="utf-8").strip() != fingerprint:
            raise RunError(
                f"the data in {config.data.path} have changed since {run} was begun (captions, or "
                "sizes or times of files); put them back, or begin another run"
            )
        if noise is not None and json.loads((run / _NOISE).read_text(encoding="utf-8")) != noise:
            raise RunError(
                f"other captions would be exchanged than {run / _NOISE} records: the sentence "
                "vectors came out otherwise, as on another machine; go on where the run was begun, "
                "or begin another"
            )
        return
    run.mkdir(parents=True, exist_ok=True)
    _replace(run / _DATA, fingerprint + "\n")
    if noise is not None:
        _replace(run / _NOISE, json.dumps(noise, indent=2, ensure_ascii=False) + "\n")
    _replace(run / _CONFIG, dump_toml(config))


def write_log(run: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Replace the run's log.csv: a header and a row per epoch."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _replace(run / "log.csv", text.getvalue())


def write_spectrum(run: Path, epoch: int, values: Sequence[float]) -> None:
    """Put a row into the run's spectrum.csv: an epoch, and M's eigenvalues after it.

    It is written before the epoch's checkpoint. Rows of this epoch and later ones, left by a kill
    between the two, are dropped.

    Args:
        run: its folder.
        epoch: from 1.
        values: the D eigenvalues, largest first.
    """
    path = run / _SPECTRUM
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    header = ",".join(["epoch", *(f"eigenvalue_{place}" for place in range(1, len(values) + 1))])
    kept = [line for line in lines if int(line.partition(",")[0]) < epoch]
    row = ",".join([str(epoch), *(f"{value:.7g}" for value in values)])  # M is float32
    _replace(path, "\n".join([header, *kept, row]) + "\n")


def read_spectrum(run: Path) -> dict[int, list[float]]:
    """Eigenvalues of M after each epoch, largest first, by epoch, as `write_spectrum` left them.

    Raises:
        RunError: the run has no spectrum.csv, or it is malformed.
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
        found_rows = {int(row[0]): [float(value) for value in row[1:]] for row in rows}
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is malformed ({error}); train the run again") from error
    if not found_rows or len({len(values) for values in found_rows.values()}) > 1:
        raise RunError(f"{path} has no rows, or rows of several lengths; train the run again")
    return found_rows


def _left_by_a_kill(entry: Path) -> bool:
    return entry.suffix == ".partial" or entry.name in (_NOISE, _DATA)


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
