"""Draw docs/plans.png after the demonstration: python docs/make_plans.py otomatch-demo.

The transport plan between one sound and one description of every rendered class, before and after
training, on the demonstration's test scenes.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from otomatch import sinkhorn
from otomatch.config import load_config
from otomatch.datasets import open_dataset
from otomatch.evaluate import PLAN_EPSILON
from otomatch.model import AudioTextModel
from otomatch.train import build_model

demo = Path(sys.argv[1])
clips = open_dataset(demo / "test").clips
singles = [clip for clip in clips if " over " not in clip.label and ", then " not in clip.label]
labels = [clip.label for clip in singles]
torch.manual_seed(0)
models = {
    "before training": build_model(load_config(demo / "run" / "config.toml")).eval(),
    "after training": AudioTextModel.from_pretrained(demo / "run" / "model"),
}

figure, axes = plt.subplots(1, 2, figsize=(11, 5.6), sharey=True, layout="constrained")
for axis, (name, model) in zip(axes, models.items(), strict=True):
    audio = model.embed_audio([clip.path for clip in singles])
    cost = model.distance(audio, model.embed_text([clip.captions[0] for clip in singles]))
    plan = sinkhorn(cost / cost.max(), PLAN_EPSILON).plan
    image = axis.imshow(plan * len(labels), cmap="magma_r", vmin=0, vmax=1)
    matched = plan.diagonal().sum().item()
    axis.set_title(f"{name}: {100 * matched:.0f} % of the mass on the right pairs")
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_xlabel("description")
axes[0].set_ylabel("sound")
figure.colorbar(image, ax=axes, label="share of the sound's mass", shrink=0.8)
figure.savefig(Path(__file__).parent / "plans.png", dpi=110)
