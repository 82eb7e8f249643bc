"""NT-Xent, the contrastive baseline."""

import math

from torch import Tensor, nn

from otomatch.errors import non_negative, positive
from otomatch.losses.pair_batch import ClipIds, Metric, prepare_pairs


class NTXentLoss(nn.Module):
    """Normalised temperature-scaled cross-entropy (InfoNCE), averaged over both directions.

    The score is s_ij = 1 - d_M(x_i, y_j)^2 / 2, the cosine for unit vectors and M = I. The loss is
    the mean over i of -log softmax(s_i / temperature)_i over the captions, averaged with the same
    over the audio clips. Other captions of the same clip are excluded from the softmax.

    With entropy = w > 0 the terms are -log p_ii - w H(p_i) instead, with p_i the softmax and
    H(p_i) = -sum_j p_ij log p_ij, which penalizes confident softmaxes (Pereyra et al., Regularizing
    neural networks by penalizing confident output distributions, 2017). It is the counterpart of
    the entropy in the transport plan, without the plan's marginal constraints. The loss may then be
    negative.

    Args:
        temperature: Divisor of the scores, > 0.
        entropy: Weight w of the entropy, >= 0.
        gather: True if processes share the batch.

    Raises:
        InvalidInputError: temperature is not a finite number > 0, or entropy not a finite
            number >= 0.

    Shape:
        audio (B, D), text (B, D) -> scalar, in nats. See `otomatch.losses.pair_batch` for the call.
    """

    def __init__(
        self, temperature: float = 0.07, entropy: float = 0.0, gather: bool = False
    ) -> None:
        super().__init__()
        self.temperature = positive("temperature", temperature)
        self.entropy = non_negative("entropy", entropy)
        self.gather = gather

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see `otomatch.losses.pair_batch` for the arguments."""
        pairs = prepare_pairs(audio, text, clip_ids, gather=self.gather)
        scores, excluded, shard = pairs.similarities(metric), pairs.same_clip(), pairs.shard
        pairs.positives(excluded).fill_(False)
        logits = (scores / self.temperature).masked_fill(excluded, -math.inf)
        over_text, over_audio = logits.logsumexp(1), shard.logsumexp(logits)
        part = (over_text + over_audio[shard.own] - 2 * pairs.positives(logits)).sum()
        if self.entropy:
            finite = logits.masked_fill(excluded, 0)  # the softmax is 0 there
            by_audio = (logits - over_text[:, None]).exp()
            by_text = (logits - over_audio).exp()
            normalizers = (over_text + over_audio[shard.own]).sum()
            part = part - self.entropy * (normalizers - ((by_audio + by_text) * finite).sum())
        return shard.sum_of_parts(part / (2 * shard.total))

    def extra_repr(self) -> str:
        """Return the options for the printed module."""
        return f"temperature={self.temperature}, entropy={self.entropy}, gather={self.gather}"
