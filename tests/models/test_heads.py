"""The heads, and that their masks say nothing of which sound belongs to which caption."""

import pytest
import torch
from torch import nn

from otomatch.errors import InvalidInputError
from otomatch.models.heads import HeadDropout, projection_head

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch has"),
    ),
]


def test_a_head_maps_an_encoders_output_into_the_joint_space():
    assert projection_head(20, 16, 12, 0.1)(torch.randn(3, 20)).shape == (3, 12)
    assert isinstance(projection_head(12, 0, 12, 0.1), nn.Identity)
    with pytest.raises(InvalidInputError, match="hidden = 0 means no heads"):
        projection_head(20, 0, 12, 0.1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_masks_drawn_one_after_the_other_are_independent(device, dtype):
    dropout, ones = HeadDropout(0.5), torch.ones(256, 512, device=device, dtype=dtype)
    first, second = (dropout(ones).float().cpu() for _ in range(2))
    for shift in range(-16, 17):  # neighbours too: numbers may come again at another place
        a, b = (mask.flatten().roll(s) - 1 for mask, s in ((first, shift), (second, 0)))
        assert abs(float((a * b).mean())) < 0.02, shift  # 0.003 is one standard deviation


@pytest.mark.parametrize("device", DEVICES)
def test_dropout_keeps_the_mean_and_follows_the_seed(device):
    dropout, ones = HeadDropout(0.2), torch.ones(1000, 100, device=device)
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(dropout(ones))
    assert torch.equal(*draws)
    assert set(draws[0].unique().tolist()) == {0.0, 1.25}
    assert float(draws[0].mean()) == pytest.approx(1, abs=0.01)
    assert torch.equal(dropout.eval()(ones), ones)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_flow_where_nothing_was_dropped(device):
    x = torch.randn(50, 40, device=device, requires_grad=True)
    out = HeadDropout(0.3)(x)
    out.sum().backward()
    assert torch.equal(x.grad != 0, out != 0)
