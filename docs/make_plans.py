"""Draw docs/plans.png after the demonstration: python docs/make_plans.py otomatch-demo.

The picture shows the transport plan between one sound and one description of every rendered class,
before and after training, on the demonstration's test scenes.
"""

import sys
from pathlib import Path

import torch

from otomatch import AudioTextModel, open_dataset, sinkhorn
from otomatch.evaluation.evaluator import PLAN_EPSILON
from otomatch.evaluation.plots.plan import shade_plan
from otomatch.evaluation.plots.style import FONT, colour_bar, figure, save
from otomatch.training.config import load_config
from otomatch.training.trainer import build_model

demo = Path(sys.argv[1])
clips = open_dataset(demo / "test").clips
singles = [clip for clip in clips if " over " not in clip.label and ", then " not in clip.label]
labels = [clip.label for clip in singles]
torch.manual_seed(0)
models = {
    "before training": build_model(load_config(demo / "run" / "config.toml")).eval(),
    "after training": AudioTextModel.from_pretrained(demo / "run" / "model"),
}

drawn, panels = figure(11, 5.6, columns=2)
for axes, (name, model) in zip(panels[0], models.items(), strict=True):
    audio = model.embed_audio([clip.path for clip in singles])
    cost = model.distance(audio, model.embed_text([clip.captions[0] for clip in singles]))
    plan = sinkhorn(cost / cost.max(), PLAN_EPSILON).plan
    image = shade_plan(axes, plan)
    matched = plan.diagonal().sum().item()
    title = f"{name}: {100 * matched:.0f} % of the mass on matched pairs (outlined)"
    axes.set_title(title, fontsize=FONT)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels if axes is panels[0, 0] else [""] * len(labels))
    axes.set_xlabel("description")
panels[0, 0].set_ylabel("sound")
colour_bar(drawn, image, panels[0], "share of the sound's mass", shrink=0.8)
save(drawn, Path(__file__).parent / "plans.png")
