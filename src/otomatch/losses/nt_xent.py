"""NT-Xent, the contrastive baseline."""

import math

from torch import Tensor, nn

from otomatch.errors import InvalidInputError
from otomatch.losses.pair_batch import ClipIds, Metric, open_pairs


class NTXentLoss(nn.Module):
    """Normalised-temperature cross-entropy (InfoNCE), averaged over both directions.

    The score is s_ij = 1 - d_M(x_i, y_j)^2 / 2, for unit vectors and M = I their cosine. The loss
    is the mean over i of -log softmax(s_i / temperature)_i over the captions, averaged with the
    same over the audio clips. Other captions of the same clip are left out of the softmax.

    With entropy = w > 0 it is -log p_ii - w H(p_i) instead, with p_i the softmax and H(p_i) =
    -sum_j p_ij log p_ij: confident softmaxes cost (Pereyra et al., Regularizing neural networks by
    penalizing confident output distributions, 2017). That is the counterpart of the entropy in the
    transport plan, without the plan's constraint that captions share the mass. It may be negative.

    Args:
        temperature: > 0, in units of the score.
        entropy: weight w of the entropy, >= 0.
        gather: whether processes share the batch.

    Raises:
        InvalidInputError: temperature is not a finite number > 0, or entropy not one >= 0.

    Shape:
        audio (B, D), text (B, D) -> scalar, in nats. See `otomatch.losses.pair_batch` for the call.
    """

    def __init__(
        self, temperature: float = 0.07, entropy: float = 0.0, gather: bool = False
    ) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise InvalidInputError(f"temperature is {temperature}; expected a finite number > 0")
        if not 0 <= entropy < math.inf:
            raise InvalidInputError(f"entropy is {entropy}; expected a finite number >= 0")
        self.temperature, self.entropy = temperature, entropy
        self.gather = gather

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see the class, and `pair_batch` for the arguments."""
        pairs = open_pairs(audio, text, clip_ids, gather=self.gather)
        scores, same, shard = pairs.similarities(metric), pairs.same_clip(), pairs.shard
        pairs.right(same).fill_(False)  # a pair itself stays in
        logits = (scores / self.temperature).masked_fill(same, -math.inf)
        over_text, over_audio = logits.logsumexp(1), shard.logsumexp(logits)
        part = (over_text + over_audio[shard.own] - 2 * pairs.right(logits)).sum()
        if self.entropy:
            seen = logits.masked_fill(same, 0)  # where the softmax is 0
            by_audio = (logits - over_text[:, None]).exp()
            by_text = (logits - over_audio).exp()
            spread = (over_text + over_audio[shard.own]).sum() - ((by_audio + by_text) * seen).sum()
            part = part - self.entropy * spread
        return shard.sum_of_parts(part / (2 * shard.total))

    def extra_repr(self) -> str:
        """Say the options in the module's printed form."""
        return f"temperature={self.temperature}, entropy={self.entropy}, gather={self.gather}"
