"""The command that trains."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from otomatch.cli.output import AsJson, show_retrieval
from otomatch.errors import ConfigError

if TYPE_CHECKING:  # pydantic and torch load slowly; --help must not
    from otomatch.training.config import Config

app = typer.Typer()


@app.command()
def train(
    run: Annotated[
        Path,
        typer.Option(
            "--run", "--run-folder", help="Folder of the run; an existing run is resumed."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of the data set (with captions.csv), or NAME:FOLDER, where NAME is "
            "audiocaps or clotho."
        ),
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(
            help="Data set to validate on. Default: the split val of --data, or some of its clips."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with the configuration. Published ones are in configs/."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="Share of the clips to give mismatched captions, 0 to 1."),
    ] = None,
    noise_kind: Annotated[
        str | None,
        typer.Option(
            help="Source of the mismatched captions: all those of a random clip (clip), of a "
            "similar clip (similar), or single ones (caption). Default: clip."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a field: section.field=value. Repeatable."),
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every field with its meaning, and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model, or resume an interrupted run.

    The run folder holds config.toml, log.csv (a row per epoch), spectrum.csv (the eigenvalues of
    the metric, a row per epoch), tensorboard/, checkpoint/, model/ (the best epoch) and
    report.json. It also holds noise.json if captions were exchanged, and pairs.csv if mismatched
    pairs are estimated.

    Examples:
    otomatch train --data scenes --run runs/first

    otomatch train --run runs/first    # resumes

    otomatch train --data clotho:data/clotho --run runs/x --config configs/clotho-resnet38-bert.toml

    otomatch train --data scenes --run runs/ntxent --set loss.name=ntxent --set optim.epochs=20

    otomatch train --data scenes --run runs/noisy --noise 0.4 --noise-kind similar

    otomatch train --data scenes --run runs/auto --set loss.target=trimmed --set loss.mass=auto

    Several processes share every batch and its plan, each on a GPU of its own if there are any.
    (torchrun takes --run for an option of its own, hence --run-folder.)

    torchrun --nproc-per-node 2 -m otomatch train --data scenes --run-folder runs/two
    """
    from otomatch.training.config import dump_toml

    if config is None and (run / "config.toml").is_file():
        config = run / "config.toml"
    settings = _resolve(config, _overrides(data, val, noise, noise_kind, assignments or []))
    if noise_kind is not None and not settings.data.noise:
        raise ConfigError("--noise-kind needs --noise, the share of clips; for example --noise 0.4")
    if show_config:
        typer.echo(dump_toml(settings))
        return
    from otomatch.parallel import process_group
    from otomatch.training import trainer

    result = trainer.train(settings, run)
    if process_group.rank():
        return
    title = f"{run.name}, epoch {result.best_epoch} of {result.epochs}"
    show_retrieval(result.report, title, as_json)
    if not as_json:
        Console().print(f"Model: {result.model}", highlight=False, soft_wrap=True)


def _overrides(
    data: str | None,
    val: str | None,
    noise: float | None,
    noise_kind: str | None,
    assignments: list[str],
) -> list[str]:
    """Return all options as assignments to fields; options win over ``--set``."""
    places = {"path": data, "val": val}
    given = [_path(field, place) for field, place in places.items() if place is not None]
    values = {"noise": noise, "noise_kind": noise_kind}
    given += [f"data.{field}={value}" for field, value in values.items() if value is not None]
    return [*assignments, *given]


def _resolve(config: Path | None, overrides: list[str]) -> "Config":
    """Return the configuration with absolute paths, so that any folder can resume the run."""
    from otomatch.training.config import load_config

    data = load_config(config, overrides).data
    places = {"path": data.path, "val": data.val}
    resolved = [_path(field, place) for field, place in places.items() if place]
    if data.pairs:
        resolved.append(f"data.pairs={json.dumps(str(Path(data.pairs).resolve()))}")
    return load_config(config, overrides + resolved)


def _path(field: str, place: str) -> str:
    from otomatch.datasets import absolute_reference

    return f"data.{field}={json.dumps(absolute_reference(place), ensure_ascii=False)}"
