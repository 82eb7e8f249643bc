"""Digest what the code computes and saves, to prove that a refactoring changed none of it.

    python bench/golden_digests.py --out golden.json                        # before
    python bench/golden_digests.py --against golden.json [--only library/]  # after, same machine

Digests, bit for bit: losses with their gradients, ground metrics, transport plans, front ends and
encoders, composed scenes, training runs with all that they save, evaluation, metrics on bare
arrays, a library with searches and duplicates, the OpenAPI document without its prose, and the
fingerprints, descriptions and keys that are saved or hashed. Versions, times, absolute places and
model cards do not count. ``--against`` lists every name that differs, is missing or is new, and
then ends with status 1. The digests hold for one machine and one version of torch and numpy.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from functools import cached_property, partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import soundfile
import torch
from pydantic_core import to_json
from safetensors import safe_open
from torch import Tensor, nn

# All imports from otomatch stand here: what moves a name changes these lines and no others.
import otomatch
from otomatch import audio, encoders, retrieval
from otomatch.datasets.caption_noise import add_caption_noise
from otomatch.datasets.scenes.composition import compose
from otomatch.evaluation import classify_embeddings, classify_scores, modality_gaps
from otomatch.evaluation.minibatch_plans import plan_approximation
from otomatch.library.contents import mean_vectors
from otomatch.models.fingerprints import audio_fingerprint
from otomatch.studies import cells
from otomatch.studies.catalogue import STUDIES, GridInputs
from otomatch.studies.catalogue.recipes import BASE
from otomatch.studies.cells import make_cell
from otomatch.training.config import Config, dump_toml, load_config
from otomatch.training.log_row import spectrum_columns
from otomatch.training.mismatch.p_values import estimate_weights, nearest, rank_p_values
from otomatch.transport.spectrum import effective_rank, eigenvalues
from otomatch.web.access import Access
from otomatch.web.app import create_app

ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
ENVIRONMENT |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TIMES = {"seconds", "validation_seconds", "data_wait", "created", "updated"}
VERSIONS = {"otomatch", "transformers_version", "version", "_name_or_path"}
PROSE = {"description", "summary", "title", "operationId"}
UNCOUNTED = {*TIMES, *VERSIONS, *PROSE, "bytes"}
PAIRS, DIM, FLOATS = 12, 6, (torch.float32, torch.float64)
CLIPS = {"apart": None, "tensor": torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8])}
METRICS = {"Identity": {}, "Diagonal": {}, "LowRank": {"rank": 3}, "Mahalanobis": {}}
NETWORK = {"spec_size": 256, "patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [1, 1]}
NETWORK |= {"num_attention_heads": [2, 2], "projection_dim": 12}
FRONT = {"sample_rate": 48000, "n_fft": 1024, "hop": 480, "mels": 64, "low": 50.0, "high": 14e3}
CLAP = {"config": NETWORK, "front_end": FRONT, "window_seconds": 10.0}
ENCODERS: dict[str, Any] = {"small": {}, "Cnn10": {}, "ResNet38": {}, "clap": CLAP}
TINY = ("data.val_share=0.25", "model.window_seconds=2.0", "model.dim=12", "model.hidden=16")
TINY += ("audio.settings={channels = [4, 6, 8, 8], hidden = 8}",)
TINY += ("optim.batch=6", "optim.epochs=2", "optim.lr=0.01")
AUTO = ("loss.target=trimmed", "loss.mass=auto", "data.noise=0.3")
RANK_5 = ("ground.name=low-rank", "ground.rank=5")
RUNS = {
    "plain": (),
    "auto": AUTO,
    "similar": (*AUTO, "data.noise_kind=similar", "mismatch.null=similar", "mismatch.unit=caption"),
    "partial": ("loss.mass=0.8", "loss.scale=1.0", "data.noise=0.2", "data.noise_kind=caption"),
    "ntxent": ("loss.name=ntxent", "loss.entropy=0.1", "ground.name=identity"),
    "triplet": (*RANK_5, "loss.name=triplet", "text.trainable=true", "optim.accumulate=2"),
    "weighted": ("loss.name=weighted-triplet", "ground.name=diagonal", "audio.trainable=false"),
}
WAVES = {"text": "waves, then drums"}


class Work:
    """Digests by name, and the scenes, runs and library that several groups take them of."""

    def __init__(self, root: Path) -> None:
        self.root, self.found = root, dict[str, str]()

    def put(self, name: str, value: Any) -> None:
        """Digest a value, or under a name that ends with a slash every value of a mapping."""
        name = name.replace("torch.", "").replace(f"{self.root}/", "")
        if name.endswith("/"):
            for key, part in value.items():
                self.put(f"{name}{key}", part)
        else:
            assert name not in self.found, name
            self.found[name] = sha256(self._bytes(value)).hexdigest()

    def _bytes(self, value: Any) -> bytes:
        """Shape, type and bytes of an array, a file's bytes, or anything else as JSON."""
        if isinstance(value, Path):
            return value.read_bytes()
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.ascontiguousarray(value))
        if isinstance(value, Tensor):
            flat = value.detach().contiguous().reshape(-1).view(torch.uint8)
            return f"{tuple(value.shape)} {value.dtype} ".encode() + flat.numpy().tobytes()
        text = json.dumps(counted(value), sort_keys=True)
        for entry in self.library.sounds() if "library" in vars(self) else ():
            text = text.replace(entry.id, f"id of {entry.path}")
        return text.replace(str(self.root), "ROOT").encode()

    def scenes(self, split: str) -> Path:
        folder, clips = self.root / split, {"train": 24, "test": 10}[split]
        compose("midi", folder, split=split, clips=clips, seconds=3.0, captions_per_clip=3)
        return settled(folder)

    def run(self, name: str) -> Path:
        """Train a tiny model, with the packaged text encoder, or open the run that did."""
        data, folder = json.dumps(str(self.scenes("train"))), self.root / "runs" / name
        config = load_config(None, [*TINY, f"data.path={data}", *RUNS[name]])
        return otomatch.train(config, folder, progress=False).folder

    @cached_property
    def library(self) -> otomatch.SoundLibrary:
        """Index the test scenes, copies of some, a long sound and a file that is none."""
        sounds = Path(shutil.copytree(self.scenes("test"), self.root / "sounds"))
        paths, copies = sorted(sounds.rglob("*.flac")), sounds / "copies"
        copies.mkdir()
        waves = [audio.load(path, 32000) for path in paths]
        soundfile.write(copies / "quieter_one.wav", 0.5 * waves[1], 32000)
        soundfile.write(copies / "long.flac", np.concatenate(waves[2:6]), 32000)
        shutil.copy(paths[0], copies / "first.flac")
        (copies / "broken.wav").write_text("no sound")
        place, model = self.root / "library", self.run("plain") / "model"
        library = otomatch.SoundLibrary.create(place, model)
        # One by one: what threads read is embedded in the order in which they finish.
        for path in sorted(settled(sounds).rglob("*.[fw]*")):
            self.put(f"library/report/{path}", library.index(sounds, path.name))
        self.put("library/report", library.index(sounds))
        return library


def settled(folder: Path) -> Path:
    """Set all files' times of change, which stamps and fingerprints hold."""
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


MOVED = {  # fields of a configuration: section, name, and section, name and successor before
    ("model", "window_seconds"): ("data", "max_seconds", "noise"),
    ("schedule", "mass_epochs"): ("loss", "mass_epochs", "scale"),
    ("mismatch", "unit"): ("loss", "evidence", "scale"),
    ("mismatch", "null"): ("loss", "null", "scale"),
    ("optim", "text_encoder_lr"): ("optim", "encoder_lr", "weight_decay"),
    ("optim", "audio_encoder_lr"): None,
}


def as_before(tree: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give a configuration the field names, and their order, that it had in the first digests."""
    tree = {name: dict(section) for name, section in tree.items()}
    for (section, name), old in MOVED.items():
        found = name in tree[section]
        value = tree[section].pop(name, None)
        if old is None:
            assert value is None
        elif found and (old[0] != "loss" or tree["loss"]["name"] == "matching"):
            home, place = tree[old[0]], list(tree[old[0]]).index(old[2])
            fields = list(home.items())
            tree[old[0]] = dict([*fields[:place], (old[1], value), *fields[place:]])
    return {name: tree[name] for name in tree if name not in ("schedule", "mismatch")}


def json_before(config: Config) -> str:
    """Dump a configuration to JSON as `as_before`, for keys that are hashes of it."""
    return to_json(as_before(config.model_dump())).decode()


def counted(node: Any) -> Any:
    """Make plain values for JSON, without the texts and numbers that do not count."""
    if hasattr(node, "to_dict") or is_dataclass(node):
        node = node.to_dict() if hasattr(node, "to_dict") else asdict(node)
    if isinstance(node, Mapping):
        kept = {k: v for k, v in node.items() if k not in UNCOUNTED or isinstance(v, dict | list)}
        return {str(key): counted(value) for key, value in kept.items()}
    if isinstance(node, list | tuple):
        return [counted(entry) for entry in node]
    return str(node) if isinstance(node, Path) else node


def rows(path: Path, left_out: Collection[str]) -> list[list[str]]:
    """Read a table, its header first, without some columns."""
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    places = [place for place, name in enumerate(header) if name not in left_out]
    return [[line[place] for place in places] for line in (header, *lines)]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    found = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return found.to(dtype)


def unit(*shape: int, seed: int = 0) -> Tensor:
    return nn.functional.normalize(draw(*shape, seed=seed), dim=-1)


def metric(kind: str, dtype: torch.dtype = torch.float32, by: float = 0.3) -> Any:
    """Make a ground metric that is no longer where it starts."""
    torch.manual_seed(0)
    made = getattr(otomatch, kind)(DIM, **METRICS[kind]).to(dtype)
    with torch.no_grad():
        for weight in made.parameters():
            weight += by * draw(*weight.shape, seed=3, dtype=dtype)
    made.project_()
    return made


def sound(seconds: float, rate: int) -> np.ndarray:
    """Render a rising tone with hiss, (samples,), float32."""
    at = np.arange(round(seconds * rate)) / rate
    hiss = np.random.default_rng(0).normal(0, 0.02, len(at))
    return (0.3 * np.sin(2 * np.pi * (200 + 400 * at) * at) + hiss).astype(np.float32)


def losses() -> Iterator[tuple[str, nn.Module, dict[str, Tensor]]]:
    """Yield every loss, with its name and the weights that its call is given."""
    make, sure = partial(otomatch.MatchingLoss, tolerance=1e-6), draw(PAIRS, seed=5).sigmoid()
    for how in product(("full", "trimmed"), (None, 0.8, 1), ("max", 0.7), ("implicit", "unrolled")):
        options = dict(zip(("target", "mass", "scale", "gradient"), how, strict=True))
        yield "matching {} {} {} {}".format(*how), make(**options), {}
    few = {"epsilon": 0.2}, {"epsilon": 0.002}, {"max_iterations": 7}, {"gather": True}
    for mass, options in product((None, 0.6), few):
        yield f"matching {mass} {options}", make(mass=mass, **options), {}
    for name, weights in {"some": sure, "sharp": sure.round(), "no": 0 * sure, "": None}.items():
        given = {} if weights is None else {"weights": weights}
        yield f"matching auto {name}", make(mass="auto", target="trimmed"), given
    for margin, negatives in product((0.2, 0.5), ("sum", "hardest")):
        yield f"triplet {margin} {negatives}", otomatch.TripletLoss(margin, negatives), {}
        if negatives == "sum":
            yield f"weighted triplet {margin}", otomatch.WeightedTripletLoss(margin), {}
    for pair in product((0.07, 0.5), (0.0, 0.1)):
        yield "ntxent {} {}".format(*pair), otomatch.NTXentLoss(*pair), {}


def digest_losses(work: Work) -> None:
    """Digest value, gradients and status of each loss for each metric and precision."""
    noisy = unit(PAIRS, DIM) + 0.4 * draw(PAIRS, DIM, seed=1)
    for case, kind, dtype, clips in product(losses(), METRICS, (*FLOATS, torch.bfloat16), CLIPS):
        if dtype == torch.bfloat16 and kind != "Mahalanobis":
            continue
        ground = metric(kind, torch.float32 if dtype == torch.bfloat16 else dtype)
        sides = (unit(PAIRS, DIM), nn.functional.normalize(noisy, dim=1))
        sounds, texts = (side.to(dtype).requires_grad_() for side in sides)
        name, loss, given = case
        value = loss(sounds, texts, ground, CLIPS[clips], **given)
        value.backward()
        wanted = {"audio": sounds, "text": texts, **dict(ground.named_parameters())}
        status = asdict(loss.last) if getattr(loss, "last", None) else None
        if status:  # digested under the name that the field had at first
            status["right"] = status.pop("diagonal_mass")
        found = {"value": value, "status": status}
        found |= {f"gradient {part}": tensor.grad for part, tensor in wanted.items()}
        work.put(f"loss/{name}/{kind} {dtype} {clips}/", found)


def digest_metrics(work: Work) -> None:
    """Digest ground metrics, also after a projection that moves them."""
    for kind, dtype, by in product(METRICS, FLOATS, (0.3, 1.5)):
        made, points = metric(kind, dtype, by), draw(9, DIM, seed=1, dtype=dtype)
        found = {"matrix": made.matrix, "whitened": made.whiten(points)}
        found |= {"distances": made(points, points.flip(0))}
        work.put(f"metric/{kind} {dtype} {by}/", found)


def digest_plans(work: Work) -> None:
    """Digest transport plans in both domains, with and without weights, and their gradients."""
    weights = {"a": draw(9, seed=2).softmax(0), "b": draw(14, seed=3).softmax(0)}
    grid = product((weights, {}), (1.0, 0.1, 0.01, 0.001), (None, 0.3, 0.8, 1.0), FLOATS)
    for given, epsilon, mass, dtype in grid:
        cost = draw(9, 14, dtype=dtype).abs().requires_grad_(epsilon == 0.1)
        solver = otomatch.partial_sinkhorn if mass else otomatch.sinkhorn
        plan = solver(cost, epsilon, **given, **({"mass": mass} if mass else {}))
        if cost.requires_grad:
            (plan.plan * draw(9, 14, seed=1, dtype=dtype)).sum().backward()
        found = vars(plan) | {"gradient": cost.grad}
        work.put(f"plan/{epsilon} {mass} {dtype} {'weights' if given else 'uniform'}/", found)
    for scale in ("full", "batch"):
        found = plan_approximation(draw(12, 12).abs(), 0.1, 5, partitions=3, scale=scale)
        work.put(f"plan/approximation {scale}", found)


def digest_sounds(work: Work) -> None:
    """Digest decoding, resampling, the front end of every encoder, and what encoders compute."""
    path, wave = work.root / "sound.wav", sound(1.5, 44100)
    soundfile.write(path, np.stack([wave, wave[::-1]], 1), 44100)
    loaded, blocks = audio.load(path, 16000, 0.25, 1.0), audio.stream(path, 32000)
    work.put("sound/", {"load": loaded, "stream": np.concatenate(list(blocks))})
    work.put("sound/duration", audio.duration(path))
    for name, settings in ENCODERS.items():
        torch.manual_seed(0)
        made = encoders.audio_encoder(name, **settings)
        work.put(f"sound/{name}/", {"key": made.feature_key, "description": made.describe()})
        waves = {t: torch.from_numpy(sound(t, made.sample_rate)) for t in (0.01, 10)}
        inputs = {t: made.features(wave) for t, wave in waves.items()}
        work.put(f"sound/{name}/features/", inputs)
        for training in (False, True):
            torch.manual_seed(1)
            batch = torch.stack([inputs[10], inputs[10].flip(0)])
            lengths = None if name == "clap" else torch.tensor([len(inputs[10]), 70])
            work.put(f"sound/{name}/output {training}", made.train(training)(batch, lengths))


def digest_scenes(work: Work) -> None:
    """Digest every file of composed scenes, and what they are opened as."""
    for folder in map(work.scenes, ("train", "test")):
        dataset = otomatch.open_dataset(folder)
        found = {"fingerprint": dataset.fingerprint, "clips": dataset.clips}
        files = (path for path in folder.rglob("*") if path.is_file())
        found |= {str(path.relative_to(folder)): path for path in files}
        work.put(f"scenes/{folder.name}/", found)


def digest_runs(work: Work) -> None:
    """Digest all that training runs leave, and what their models say of sounds and texts."""
    heard, said = work.scenes("test"), ["a trumpet plays", "a dog", "waves, then drums"]
    for name in RUNS:
        folder = work.run(name)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if path.name != "README.md" and "events" not in path.name:
                digest_saved(work, f"run/{name}/{path.relative_to(folder)}", path)
        model = otomatch.AudioTextModel.from_pretrained(folder / "model")
        sounds, texts = model.embed_audio(sorted(heard.rglob("*.flac"))), model.embed_text(said)
        found = {"sounds": sounds, "texts": texts, "whitened": model.whiten(sounds)}
        found |= {"print": model.fingerprint, "audio print": audio_fingerprint(model)}
        found |= {"evaluation": otomatch.evaluate(model, heard)}
        found |= {"zeroshot": otomatch.zeroshot(model, heard)}
        work.put(f"run/{name}/", found | {"distances": model.distance(sounds, texts)})


def digest_saved(work: Work, name: str, path: Path) -> None:
    """Digest a file of a run without times, versions and absolute places."""
    readers = {"config.json": json.loads, "config.toml": lambda t: as_before(tomllib.loads(t))}
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            progress = json.loads((file.metadata() or {}).get("progress", "{}"))
        work.put(f"{name}/", tensors | {"progress": progress})
    elif path.name in readers:
        work.put(name, readers[path.name](path.read_text()))
    else:
        work.put(name, rows(path, TIMES) if path.name == "log.csv" else path)


def digest_scores(work: Work) -> None:
    """Digest metrics on bare arrays: retrieval, gaps, classes, p-values, spectra, noise."""
    clip = (np.arange(90) * 7 % 30).tolist()
    sounds, several = unit(30, DIM), [[row, (row + 1) % 30][: 1 + row % 2] for row in clip]
    texts = sounds[clip] + 0.4 * draw(90, DIM, seed=1)
    for dtype, of in product(FLOATS, (clip, several)):
        a, t = sounds.to(dtype), texts.to(dtype)
        found = {"report": retrieval.evaluate_embeddings(a, t, of, (1, 3, 10), (5, 10))}
        found |= {"scores": retrieval.evaluate_scores((4 * a @ t.T).round(), of)}
        kind = f"score/{dtype} {'one' if of is clip else 'several'}/"
        work.put(kind, found | {"gaps": modality_gaps(a, t, of)})
    labels, names = [row % 6 for row in range(30)], list("abcdef")
    found = {"classes": classify_embeddings(sounds, unit(6, DIM, seed=2), labels, names)}
    found |= {"class scores": classify_scores(sounds, labels, names)}
    values = eigenvalues(metric("Mahalanobis").matrix)
    found |= {"eigenvalues": values, "spectrum": spectrum_columns(values)}
    found["rank"] = effective_rank(values)
    work.put("score/", found | {"gaps": modality_gaps(sounds, texts)})
    for by_clip, near in product((True, False), (None, 8)):
        rivals = near and nearest(sounds if by_clip else texts, near)
        p = rank_p_values(sounds, texts, clip, by_clip=by_clip, null_rows=rivals, sample=20)
        work.put(f"score/{by_clip} {near}/", {"p": p, **vars(estimate_weights(p))})
    captions = [[f"{row} {i}" for i in range(1 + row % 3)] for row in range(30)]
    for kind in ("clip", "caption", "similar"):
        vectors = sounds if kind == "similar" else None
        work.put(f"score/noise {kind}", add_caption_noise(captions, 0.4, 1, kind, vectors))


def digest_library(work: Work) -> None:
    """Digest a library's rows, and what searches find."""
    library, target, heard = work.library, work.root / "rows.csv", (sound(1.5, 44100), 44100)
    library.export(target)
    header, *lines = rows(target, {"id"})
    named = {f"{line[header.index('path')]} {line[header.index('start')]}": line for line in lines}
    work.put("library/", {"columns": header, "info": library.info()})
    work.put("library/row/", named)
    library.export(target.with_suffix(".parquet"))
    table = pyarrow.parquet.read_table(target.with_suffix(".parquet"))
    vectors = table.sort_by([("path", "ascending"), ("start", "ascending")])["vector"].to_pylist()
    work.put("library/", {"vectors": np.float32(vectors), "means": mean_vectors(library.store)[1]})
    narrow = {"folder": "copies", "min_duration": 1.0, "max_duration": 3.5}
    queries: dict[str, dict[str, Any]] = {
        "text": WAVES, "deaf": WAVES | {"hybrid": False}, "words": {"text": "quieter", "k": 3},
        "narrow": WAVES | narrow, "without": WAVES | {"without": ["a piano", "music"]},
        "sound": {"audio": heard}, "both": {"audio": heard, "text": "a flute"},
    }  # fmt: skip
    work.put("library/search/", {name: library.search(**q) for name, q in queries.items()})
    first = library.sounds()[0].id
    work.put("library/sounds", library.sounds())
    work.put("library/similar", library.similar(first, 1.0, without="a choir", k=4))
    work.put("library/", {f"duplicates {s}": library.duplicates(similarity=s) for s in (0.93, 0.5)})


def digest_openapi(work: Work) -> None:
    """Digest the API's document without its prose, open and with a token."""
    for kind, access in (("open", None), ("locked", Access(token="long-enough"))):  # noqa: S106
        app: Any = create_app(work.library, access, warm=False).app
        document = app.openapi()
        app.state.services.close()
        for path, operations in document.pop("paths").items():
            work.put(f"openapi/{kind}/{path} /", operations)
        work.put(f"openapi/{kind}/schema/", document["components"].pop("schemas"))
        work.put(f"openapi/{kind}/rest", document)


def digest_keys(work: Work) -> None:
    """Digest configurations as resolved, keys of the studies' cells and text encoders."""
    configs = Path(__file__).parents[1] / "configs"
    cells.TRAINING_VERSION = 1  # 2 since fields have other names, which `json_before` undoes
    Config.model_dump_json = json_before  # type: ignore[assignment,method-assign]
    for path in (None, *sorted(configs.glob("*.toml"))):
        config, name = load_config(path), path.name if path else "defaults"
        written = as_before(tomllib.loads(dump_toml(config)))
        work.put(f"key/{name}/", {"json": config.model_dump_json(), "toml": written})
    for study, quick in product(STUDIES.values(), (False, True)):
        arms = study.arms(GridInputs(quick, load_config(None, BASE), 2000, ("first", "second")))
        for place, arm in enumerate(arms):
            config = load_config(None, [*BASE, *arm.overrides])
            cell = make_cell(arm, 1, config, "data", Path("cells"), (), None)
            work.put(f"key/{study.name} {quick} {place}", cell.key)
    for pooling in ("mean", "cls"):
        text = encoders.text_encoder("minilm", pooling=pooling)
        found = {"print": text.fingerprint(), "states": text(["a dog barks", "rain, then waves"])}
        work.put(f"key/text {pooling}/", found)


GROUPS = {
    "loss": digest_losses, "metric": digest_metrics, "plan": digest_plans, "sound": digest_sounds,
    "scenes": digest_scenes, "run": digest_runs, "score": digest_scores,
    "library": digest_library, "openapi": digest_openapi, "key": digest_keys,
}  # fmt: skip


def collect(only: str) -> dict[str, str]:
    """Digest the groups that may have names with this beginning, and keep those names."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder).resolve())
        os.environ["OTOMATCH_CACHE"] = str(work.root / "cache")
        for group, make in GROUPS.items():
            if f"{group}/".startswith(only) or only.startswith(f"{group}/"):
                started = time.monotonic()
                make(work)
                print(f"{group}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return {name: value for name, value in work.found.items() if name.startswith(only)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--out", type=Path, help="file to write")
    wanted.add_argument("--against", type=Path, help="file to compare with")
    parser.add_argument("--only", default="", help="beginning of the names that count")
    given = parser.parse_args()
    if not ENVIRONMENT.items() <= os.environ.items():  # libraries read it when they are loaded
        os.execve(sys.executable, sys.orig_argv, os.environ | ENVIRONMENT)  # noqa: S606
    warnings.simplefilter("ignore")  # models this small may well look ill
    torch.set_num_threads(1)
    new = collect(given.only)
    if given.out:
        given.out.write_text(json.dumps(new, indent=0) + "\n", encoding="utf-8")
        return 0
    old = json.loads(given.against.read_text(encoding="utf-8"))
    old = {name: value for name, value in old.items() if name.startswith(given.only)}
    lines = [f"differs: {name}" for name in old if new.get(name, old[name]) != old[name]]
    lines += [f"missing: {name}" for name in old if name not in new]
    lines += [f"new: {name}" for name in new if name not in old]
    print("\n".join([*lines, f"{len(new)} digests, {len(lines)} differences"]))
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
