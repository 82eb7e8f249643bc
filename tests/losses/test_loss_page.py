"""The code of docs/loss.md runs as it stands."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

PAGE = Path(__file__).parents[2] / "docs" / "loss.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
CLIPS, DIM = 12, 512


class Encoders(nn.Module):
    def __init__(self):
        super().__init__()
        self.audio, self.text = nn.Linear(8, DIM), nn.Linear(8, DIM)

    def forward(self, sounds, captions):
        unit = nn.functional.normalize
        return unit(self.audio(sounds), dim=1), unit(self.text(captions), dim=1)


def given():
    """Return the names that the page takes as given: a model, its embeddings, and batches."""
    sounds, model = torch.randn(CLIPS, 8), Encoders()
    captions = sounds + 0.1 * torch.randn(CLIPS, 8)
    with torch.no_grad():
        all_audio, all_text = model(sounds, captions)
    return {
        "model": model,
        "loader": [(sounds, captions, torch.arange(CLIPS))] * 2,
        "all_audio": all_audio,
        "all_text": all_text,
        "text_clip": range(CLIPS),
    }


def test_the_blocks_of_the_page_run_one_after_the_other():
    names = given()
    before = names["model"].audio.weight.clone()
    for block in BLOCKS:
        exec(block, names)  # noqa: S102
    assert len(BLOCKS) == 5
    assert not torch.equal(names["model"].audio.weight, before)
    assert names["loss"].shape == ()
    assert names["matched"].shape == (CLIPS,)
    assert names["plan"].plan.sum().item() == pytest.approx(0.6, abs=1e-5)
