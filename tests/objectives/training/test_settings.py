"""Settings of the proxy: parts of a batch, devices, and rungs."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.settings import Halving, ProxySettings, resolve_device


@hypothesis(deadline=None)
@given(batch=st.integers(1, 64), accumulate=st.integers(1, 64), rows=st.integers(1, 64))
def test_no_part_is_larger_than_those_of_a_whole_batch(
    batch: int, accumulate: int, rows: int
) -> None:
    accumulate, rows = min(accumulate, batch), min(rows, batch)
    settings = ProxySettings(batch_size=batch, accumulate=accumulate)
    sizes = [
        len(part) for part in torch.empty(rows).tensor_split(settings.accumulation_steps(rows))
    ]
    largest = -(-batch // accumulate)
    assert settings.accumulation_steps(batch) <= accumulate
    assert sum(sizes) == rows
    assert max(sizes) <= largest
    # BatchNorm needs two rows.
    assert min(sizes) > 1 or largest < 3 or rows == 1


def test_auto_takes_cuda_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "says"), [("tpu", "write auto, cpu, cuda, cuda:1 or mps"), ("cuda:99", "is not there")]
)
def test_a_device_that_is_not_there(name: str, says: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_device(name)
    assert says in str(caught.value)


@given(first=st.floats(0.001, 50), eta=st.integers(2, 10), epochs=st.integers(1, 100))
def test_rungs_rise_and_stay_below_the_last_epoch(first: float, eta: int, epochs: int) -> None:
    rungs = Halving(eta=eta, first=first).rungs(epochs)
    assert list(rungs) == sorted(set(rungs))
    assert all(0 < rung < epochs for rung in rungs)
    assert all(rung < 1 or rung == int(rung) for rung in rungs)
