"""Configuration overrides that studies share.

Arms with the same overrides in two studies are the same run, so each recipe states every field that
its name implies, whatever configuration the user starts from.
"""

BASE = ("audio.settings={channels = [16, 32, 64, 64]}",)
"""Base of every run without a configuration file: half the default width, so that two CPU cores can
train a grid."""
QUICK = ("optim.epochs=2", "optim.batch=32")
"""Overrides of a quick study: enough to see the output, too little to draw conclusions."""
QUICK_SCENES = 200
"""Number of training scenes of a quick study."""

MATCHING = (
    "loss.name=matching",
    "loss.target=full",
    "loss.mass=none",
    "schedule.mass_epochs=none",
    "mismatch.unit=clip",
    "mismatch.null=random",
)
NTXENT = ("loss.name=ntxent", "loss.entropy=0.0")
TRIPLET = ("loss.name=triplet", "loss.negatives=sum")
COSINE = "ground.name=identity"
AUTO = (*MATCHING, "loss.target=trimmed", "loss.mass=auto")
