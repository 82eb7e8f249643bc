"""On a GPU: the figures of the CPU, and training in every precision; skipped without one."""

from pathlib import Path

import pytest
import torch

import otomatch
from otomatch.evaluation.retrieval import evaluate_embeddings
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.studies.loss_cost import unit_pairs
from otomatch.training import trainer
from otomatch.training.run_folder import read_spectrum
from otomatch.training.trainer import train
from otomatch.transport.ground_metrics import Mahalanobis
from tests.support.tiny import tiny_config, tiny_model, write_tones

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use"),
    # Two epochs on a tiny model are no healthy training.
    pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning"),
]


def on_both(function, *tensors):
    """What a function gives on the CPU, and on the GPU."""
    return function(*tensors), function(*(tensor.cuda() for tensor in tensors))


def same(cpu, gpu, tolerance=1e-9):
    torch.testing.assert_close(gpu.cpu(), cpu, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("epsilon", [0.5, 0.05, 0.005])
@pytest.mark.parametrize("mass", [None, 0.7])
@pytest.mark.parametrize("size", [40, 520])  # solved on the CPU, and on the GPU
def test_plans_are_those_of_the_cpu(size, epsilon, mass):
    audio, text = (side.double() for side in unit_pairs(size, 16, 1.0))
    cost = torch.cdist(audio, text)

    def solve(cost):
        fixed = {"tolerance": 1e-10, "max_iterations": 20000}
        if mass is None:
            return otomatch.sinkhorn(cost, epsilon, **fixed)
        return otomatch.partial_sinkhorn(cost, epsilon, mass, **fixed)

    cpu, gpu = on_both(solve, cost)
    assert gpu.plan.is_cuda
    assert gpu.converged == cpu.converged
    same(cpu.plan, gpu.plan, 1e-7)


@pytest.mark.parametrize(
    "loss_fn",
    [
        otomatch.MatchingLoss(),
        otomatch.MatchingLoss(mass=0.8),
        otomatch.MatchingLoss(mass=0.8, target="trimmed"),
        otomatch.MatchingLoss(gradient="unrolled"),
        otomatch.TripletLoss(),
        otomatch.NTXentLoss(),
    ],
    ids=["balanced", "partial", "trimmed", "unrolled", "triplet", "ntxent"],
)
@pytest.mark.parametrize("size", [24, 520])
def test_losses_and_gradients_are_those_of_the_cpu(size, loss_fn):
    def run(audio, text):
        metric = Mahalanobis(16).to(audio)
        leaves = [side.clone().requires_grad_() for side in (audio, text)]
        loss = loss_fn(*leaves, metric)
        return [loss.detach(), *torch.autograd.grad(loss, [*leaves, *metric.parameters()])]

    pairs = on_both(run, *(side.double() for side in unit_pairs(size, 16, 1.0)))
    for cpu, gpu in zip(*pairs, strict=True):
        same(cpu, gpu, 1e-6)


def test_the_projection_is_that_of_the_cpu():
    matrix = torch.randn(12, 12, dtype=torch.float64)

    def project(matrix):
        metric = Mahalanobis(12).to(matrix)
        with torch.no_grad():
            metric.matrix = matrix
        metric.project_()
        return metric.matrix.detach()

    same(*on_both(project, matrix))


def test_reports_on_retrieval_are_those_of_the_cpu():
    audio, text = unit_pairs(200, 16, 2.0)
    rows = list(range(200))
    cpu, gpu = on_both(lambda a, t: evaluate_embeddings(a, t, rows), audio, text)
    assert gpu.text_to_audio == cpu.text_to_audio
    assert gpu.audio_to_text == cpu.audio_to_text


def test_a_model_embeds_as_on_the_cpu(tiny_bert, tmp_path):
    tiny_model(tiny_bert).save_pretrained(tmp_path / "model")
    sounds = [(0.1 * torch.randn(length), 32000) for length in (8000, 32000, 70000)]
    models = [AudioTextModel.from_pretrained(tmp_path / "model", d) for d in ("cpu", "cuda")]
    cpu, gpu = ((m.embed_audio(sounds), m.embed_text(["a dog", "rain"])) for m in models)
    for expected, found in zip(cpu, gpu, strict=True):
        assert not found.is_cuda
        same(expected, found, 2e-3)  # TF32 in the convolutions
    same(models[0].distance(*cpu), models[1].distance(*cpu), 1e-4)
    assert models[0].fingerprint == models[1].fingerprint


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> Path:
    return write_tones(tmp_path_factory.mktemp("tones"))


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("loss", ["loss.mass=0.8", "loss.name='ntxent'", "loss.mass='auto'"])
def test_a_run_in_every_precision_learns_and_keeps_its_metric_in_the_cone(
    precision, loss, tones, tiny_bert, tmp_path
):
    target = ["loss.target='trimmed'"] if "auto" in loss else []
    config = tiny_config(
        tones, tiny_bert, f"run.precision={precision!r}", loss, *target, "optim.epochs=4"
    )
    result = train(config, tmp_path / "run", progress=False)
    rows = (result.folder / "log.csv").read_text().splitlines()
    column = rows[0].split(",").index("loss")
    losses = [float(row.split(",")[column]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    assert all(values[-1] > -1e-5 for values in read_spectrum(result.folder).values())


def test_a_run_that_was_stopped_goes_on_to_the_same_model(tones, tiny_bert, tmp_path, monkeypatch):
    config = tiny_config(tones, tiny_bert, "run.precision='no'")
    whole = train(config, tmp_path / "whole", progress=False)
    seen, end_epoch = [], trainer._end_epoch

    def stop(*arguments):
        end_epoch(*arguments)
        if not seen:
            seen.append(1)
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_end_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", progress=False)
    again = train(config, tmp_path / "stopped", progress=False)
    vectors = [
        AudioTextModel.from_pretrained(run.model).embed_text(["a low tone", "a shrill hiss"])
        for run in (whole, again)
    ]
    same(*vectors, 1e-3)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_pairs_drawn_at_random_are_not_learnt(precision, tones, tiny_bert, tmp_path):
    # Nothing in a step may tell which caption stands beside which sound: see heads.py.
    wrong = ["data.noise=1.0", "model.dropout=0.5", "optim.epochs=12", "optim.lr=0.003"]
    config = tiny_config(tones, tiny_bert, f"run.precision={precision!r}", *wrong)
    result = train(config, tmp_path / "run", progress=False)
    rows = (result.folder / "log.csv").read_text().splitlines()
    column = rows[0].split(",").index("loss")
    first, last = (float(row.split(",")[column]) for row in (rows[1], rows[-1]))
    assert last > 0.5 * first
