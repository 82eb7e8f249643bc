"""Losses stay finite and accurate in every precision, also on degenerate batches."""

import pytest
import torch

from otomatch.losses.matching import MatchingLoss
from otomatch.transport.ground_metrics import GROUND_METRICS
from tests.support.pairs import BASELINES, KINDS, batch, full_metric


def hard_batches():
    audio, text = batch(32, 16, dtype=torch.float32)
    yield "random", audio, text
    yield "single", audio[:1], text[:1]
    yield "identical embeddings", audio[:1].repeat(9, 1), audio[:1].repeat(9, 1)
    yield "duplicated rows", audio[:8].repeat(4, 1), text[:8].repeat(4, 1)
    yield "text equals audio", audio, audio.clone()
    yield "opposite", audio, -audio
    yield "nearly identical", audio[:1] + 1e-4 * audio, audio[:1] + 1e-4 * text
    yield "zeros", torch.zeros(5, 16), torch.zeros(5, 16)
    yield "large", 1e4 * audio, 1e4 * text


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.005, 0.05, 1.0])
@pytest.mark.parametrize("case", [*hard_batches()], ids=lambda case: case[0])
def test_float32_losses_and_gradients_are_finite(case, epsilon):
    _, audio, text = case
    options = [*KINDS.values(), {"mass": 0.3, "gradient": "unrolled", "max_iterations": 30}]
    for loss_fn in [
        *(MatchingLoss(epsilon, **{"max_iterations": 200, **o}) for o in options),
        *BASELINES,
    ]:
        for name in ("identity", "full"):
            x, y = (t.clone().requires_grad_() for t in (audio, text))
            metric = GROUND_METRICS[name](16)
            loss = loss_fn(x, y, metric)
            loss.backward()
            assert torch.isfinite(loss)
            for leaf in (x, y, *metric.parameters()):
                assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("loss_fn", [*(MatchingLoss(**o) for o in KINDS.values()), *BASELINES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(loss_fn, dtype):
    audio, text = batch(16, 32, dtype=dtype)
    metric = full_metric(32, dtype=torch.float32)
    expected = loss_fn(audio.float(), text.float(), metric)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_fn(audio.requires_grad_(), text, metric)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert audio.grad.dtype == dtype
    assert torch.isfinite(audio.grad).all()


def test_a_plain_function_as_the_metric_runs_in_float32_under_autocast():
    def metric(x, y):
        return (2 - 2 * x @ y.T).clamp(min=1e-6).sqrt()

    audio, text = batch(16, 32, dtype=torch.bfloat16)
    for loss_fn in (MatchingLoss(), *BASELINES):
        expected = loss_fn(audio.float(), text.float(), metric).item()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert loss_fn(audio, text, metric).item() == pytest.approx(expected, rel=1e-6)


def test_float32_gradients_agree_with_float64_ones():
    for kind in KINDS.values():
        gradients = []
        for dtype in (torch.float32, torch.float64):
            audio, text = batch(32, 16, dtype=torch.float32)
            audio = audio.to(dtype).requires_grad_()
            MatchingLoss(0.05, **kind)(
                audio, text.to(dtype), full_metric(16, dtype=dtype)
            ).backward()
            gradients.append(audio.grad.double())
        error = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
        assert error < 1e-4
