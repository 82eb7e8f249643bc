"""Work and values shared by 1, 2 and 4 processes."""

from itertools import chain

import pytest
import torch
from torch import nn

from otomatch.parallel import process_group
from tests.support.processes import Failure


def ranked():
    return process_group.rank(), process_group.world_size()


def test_ranks_count_the_processes(group):
    size = len(group.workers)
    assert group.run(ranked, [()] * size) == [(rank, size) for rank in range(size)]
    assert ranked() == (0, 1)


def mapped(total):
    return process_group.map_parts(list, range(total))


@pytest.mark.parametrize("total", [0, 3, 10])
def test_parts_in_rank_order_make_up_the_whole(group, total):
    for parts in group.run(mapped, [(total,)] * len(group.workers)):
        assert list(chain(*parts)) == list(range(total))
        lengths = [len(part) for part in parts]
        assert max(lengths) - min(lengths) <= 1
    assert mapped(total) == [list(range(total))]


def shared(value):
    process_group.barrier()
    own = torch.tensor([value, 1.0])
    total = process_group.reduce_sum(own, torch.device("cpu"))
    return process_group.broadcast(value), process_group.all_gather(value), total.tolist()


def test_values_are_broadcast_gathered_and_summed(group):
    values = [3.0, 5.0, 7.0, 9.0][: len(group.workers)]
    found = group.run(shared, [(value,) for value in values])
    for first, gathered, _ in found:
        assert (first, gathered) == (3.0, values)
    assert found[0][2] == [sum(values), len(values)]
    assert shared(3.0) == (3.0, [3.0], [3.0, 1.0])


def averaged(value):
    used, unused = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    used.grad = torch.full((2,), value)
    process_group.average_gradients([used, unused])
    return used.grad.tolist(), unused.grad


def test_gradients_are_averaged_over_the_processes(group):
    values = [1.0, 3.0, 5.0, 7.0][: len(group.workers)]
    mean = sum(values) / len(values)
    for found in group.run(averaged, [(value,) for value in values]):
        assert found == ([mean, mean], None)


def written_first(path):
    def write_or_read():
        if process_group.rank() == 0:
            path.write_text("written")
        return path.read_text()

    return process_group.rank_zero_first(write_or_read)


def test_other_ranks_find_what_rank_zero_wrote(group, tmp_path):
    path = tmp_path / "cache"
    assert group.run(written_first, [(path,)] * len(group.workers)) == ["written"] * len(
        group.workers
    )


def failing_first():
    process_group.rank_zero_first(lambda: 1 / 0 if process_group.rank() == 0 else None)


def test_an_error_on_rank_zero_is_raised_on_every_process(group):
    for result in group.attempt(failing_first, [()] * len(group.workers)):
        assert isinstance(result, Failure)
        assert isinstance(result.error, ZeroDivisionError)
