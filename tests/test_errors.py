"""The argument checks that all packages share."""

import math

import numpy as np
import pytest
import torch

from otomatch.errors import InvalidInputError, at_least, non_negative, one_of, positive

NO_NUMBERS = [math.nan, np.float32(np.nan), True, np.bool_(True), "1", None, 1j, [1]]
INFINITE = [math.inf, -math.inf, np.float64(np.inf)]


@pytest.mark.parametrize("value", [2, 3, 10**30, np.int64(2), np.uint8(7)])
def test_a_whole_number_that_is_large_enough_is_returned_as_it_is(value):
    assert at_least("batch", value, 2) is value


@pytest.mark.parametrize("value", [*NO_NUMBERS, *INFINITE, 1, -2, np.int32(1), 2.0, np.float64(2)])
def test_anything_but_a_whole_number_that_is_large_enough_is_refused(value):
    with pytest.raises(InvalidInputError) as caught:
        at_least("batch", value, 2)
    assert str(caught.value) == f"batch is {value!r}; expected a whole number >= 2"


@pytest.mark.parametrize("check", [positive, non_negative])
@pytest.mark.parametrize("value", [1, 0.5, 5e-324, np.float32(0.25), np.int64(3), np.float16(1)])
def test_a_positive_number_of_any_type_is_returned_as_it_is(check, value):
    assert check("epsilon", value) is value


@pytest.mark.parametrize("value", [0, 0.0, -0.0, np.float32(0), np.int8(0)])
def test_zero_is_not_negative_and_not_positive(value):
    assert non_negative("entropy", value) is value
    with pytest.raises(InvalidInputError, match=r"entropy is .*0.*; expected a finite number > 0"):
        positive("entropy", value)


@pytest.mark.parametrize(("check", "sign"), [(positive, ">"), (non_negative, ">=")])
@pytest.mark.parametrize("value", [*NO_NUMBERS, *INFINITE, -1, -1e-300, np.int64(-1)])
def test_what_is_negative_infinite_or_no_number_is_refused(check, sign, value):
    with pytest.raises(InvalidInputError) as caught:
        check("epsilon", value)
    assert str(caught.value) == f"epsilon is {value!r}; expected a finite number {sign} 0"


def test_one_of_returns_an_allowed_value_and_lists_all_when_it_refuses_another():
    assert one_of("reduction", "mean", ("mean", "sum")) == "mean"
    assert one_of("kind", "b", {"a": 1, "b": 2}) == "b"
    with pytest.raises(InvalidInputError) as caught:
        one_of("reduction", "max", ("mean", "sum"))
    assert str(caught.value) == "reduction is 'max'; expected one of mean, sum"
    with pytest.raises(InvalidInputError, match="reduction is None"):
        one_of("reduction", None, ("mean", "sum"))


def test_a_tensor_of_one_number_is_returned_as_it_is():
    for check in (positive, non_negative):
        for value in (torch.tensor(0.5), torch.nn.Parameter(torch.tensor(0.5)), np.array(0.5)):
            assert check("epsilon", value) is value
        with pytest.raises(InvalidInputError):
            check("epsilon", torch.tensor(math.nan))
        with pytest.raises(InvalidInputError):
            check("epsilon", torch.tensor([0.5]))
    whole = torch.tensor(3)
    assert at_least("batch", whole, 2) is whole
