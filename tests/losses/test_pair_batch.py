"""The call that all losses share: clip ids, and errors that name the argument."""

import copy
import math
import pickle

import pytest
import torch

from otomatch.errors import InvalidInputError
from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.pair_batch import prepare_pairs
from otomatch.losses.triplet import TripletLoss, WeightedTripletLoss
from otomatch.transport.ground_metrics import Identity, Mahalanobis
from tests.support.pairs import (
    BASELINES,
    CLIPS,
    batch,
)


@pytest.mark.parametrize("loss_fn", [MatchingLoss(), MatchingLoss(mass=0.8), *BASELINES])
def test_clip_ids_may_be_tensors_lists_or_strings(loss_fn):
    audio, text = batch()
    numbers = [3, 1, 3, 0, 1, 3, 8]
    values = [
        loss_fn(audio, text, Identity(5), ids).item()
        for ids in (CLIPS, tuple(CLIPS), numbers, torch.tensor(numbers))
    ]
    assert values == pytest.approx([values[0]] * 4, rel=1e-6)
    assert values[0] != pytest.approx(loss_fn(audio, text, Identity(5)).item(), rel=1e-3)
    different = loss_fn(audio, text, Identity(5), list(range(7))).item()
    assert different == pytest.approx(loss_fn(audio, text, Identity(5)).item(), rel=1e-6)


def test_the_identity_metric_scores_unit_vectors_by_their_cosine():
    audio, text = batch()
    torch.testing.assert_close(prepare_pairs(audio, text).similarities(Identity(5)), audio @ text.T)


def test_losses_can_be_copied_pickled_and_printed():
    audio, text = batch()
    for loss_fn in (MatchingLoss(0.02, 0.9), *BASELINES):
        expected = loss_fn(audio, text, Identity(5)).item()
        for other in (copy.deepcopy(loss_fn), pickle.loads(pickle.dumps(loss_fn))):  # noqa: S301
            assert other(audio, text, Identity(5)).item() == pytest.approx(expected, rel=1e-6)
    assert "epsilon=0.02, mass=0.9, target='full', scale='max'" in repr(MatchingLoss(0.02, 0.9))
    assert repr(NTXentLoss()) == "NTXentLoss(temperature=0.07, entropy=0.0, gather=False)"
    assert repr(TripletLoss()) == "TripletLoss(margin=0.2, negatives='sum', gather=False)"
    assert repr(WeightedTripletLoss()) == "WeightedTripletLoss(margin=0.2, gather=False)"


LOSSES = [MatchingLoss(), NTXentLoss(), TripletLoss(), WeightedTripletLoss()]


@pytest.mark.parametrize("loss_fn", LOSSES)
@pytest.mark.parametrize(
    ("audio", "text", "clips", "message"),
    [
        (torch.zeros(3), torch.zeros(3), None, r"audio has shape \(3,\) .*; expected .*\(B, D\)"),
        (torch.zeros(3, 5), torch.zeros(5), None, r"text has shape \(5,\)"),
        (torch.zeros(0, 5), torch.zeros(0, 5), None, r"audio has shape \(0, 5\)"),
        (torch.zeros(3, 5), torch.zeros(4, 5), None, r"audio has shape \(3, 5\) and text \(4, 5\)"),
        (torch.zeros(3, 5).long(), torch.zeros(3, 5), None, "dtype torch.int64; expected float"),
        ([[0.0]], torch.zeros(3, 5), None, "audio is a list; expected a torch"),
        (torch.zeros(3, 4), torch.zeros(3, 4), None, r"x has shape \(3, 4\); expected \(rows, 5\)"),
        (torch.full((3, 5), math.nan), torch.zeros(3, 5), None, r"audio\[0, 0\] is nan; expected"),
        (torch.zeros(3, 5), torch.full((3, 5), math.inf), None, r"text\[0, 0\] is inf; expected"),
        (
            torch.zeros(3, 5),
            torch.zeros(3, 5),
            [1, 2],
            r"clip_ids has shape \(2,\); expected \(3,\)",
        ),
        (torch.zeros(3, 5), torch.zeros(3, 5), torch.zeros(3, 1), r"clip_ids has shape \(3, 1\)"),
    ],
)
def test_bad_input_is_refused_by_name_and_value(loss_fn, audio, text, clips, message):
    with pytest.raises(InvalidInputError, match=message):
        loss_fn(audio, text, Identity(5), clips)


@pytest.mark.parametrize("loss_fn", LOSSES)
def test_a_broken_metric_is_named_as_the_cause(loss_fn):
    metric = Mahalanobis(5)
    with torch.no_grad():
        metric.weight[0, 0] = math.nan
    with pytest.raises(InvalidInputError, match="the metric returned NaN or infinite distances"):
        loss_fn(*batch(dtype=torch.float32), metric)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MatchingLoss(epsilon=0), "epsilon is 0; expected a finite number > 0"),
        (lambda: MatchingLoss(epsilon=math.nan), "epsilon is nan"),
        (lambda: MatchingLoss(mass=0.0), r"mass is 0.0; expected a number in \(0, 1\]"),
        (lambda: MatchingLoss(mass=1.1), "mass is 1.1"),
        (lambda: MatchingLoss(target="half"), "target is 'half'; expected one of full, trimmed"),
        (lambda: MatchingLoss(scale="mean"), "scale is 'mean'; expected .max. or a finite"),
        (lambda: MatchingLoss(gradient="x"), "gradient is 'x'; expected one of implicit, unrolled"),
        (lambda: TripletLoss(margin=-0.1), "margin is -0.1; expected a finite number >= 0"),
        (lambda: WeightedTripletLoss(math.inf), "margin is inf; expected a finite number >= 0"),
        (lambda: TripletLoss(negatives="all"), "negatives is 'all'; expected one of sum, hardest"),
        (lambda: NTXentLoss(temperature=0.0), "temperature is 0.0; expected a finite number > 0"),
        (lambda: NTXentLoss(entropy=-1.0), "entropy is -1.0; expected a finite number >= 0"),
    ],
)
def test_bad_options_are_refused_at_once(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
