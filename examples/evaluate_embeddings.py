"""Compute retrieval metrics for any embeddings: python examples/evaluate_embeddings.py"""

import torch

from otomatch.evaluation.retrieval import evaluate_embeddings

torch.manual_seed(0)
audio = torch.nn.functional.normalize(torch.randn(100, 64), dim=1)
text_clip = torch.arange(100).repeat_interleave(5)  # five captions for each clip
text = torch.nn.functional.normalize(audio[text_clip] + 0.25 * torch.randn(500, 64), dim=1)

report = evaluate_embeddings(audio, text, text_clip)
for name, direction in (
    ("text to audio", report.text_to_audio),
    ("audio to text", report.audio_to_text),
):
    recall = "  ".join(f"R@{k} {value:.1f}" for k, value in direction.recall.items())
    print(f"{name}: {recall}  mAP@10 {direction.map[10]:.3f}  median rank {direction.median_rank}")
print(f"{report.clips} clips, {report.captions} captions, modality gap {report.modality_gap:.3f}")
