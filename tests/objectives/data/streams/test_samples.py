"""Samples of a data set: the same questions are answered for arrays and for batches."""

import torch
from widthwise.objectives.data.dataset import Data, Split, Task
from widthwise.objectives.data.streams.samples import (
    first_rows,
    input_shape,
    sample_counts,
    steps_per_epoch,
    training_rows,
)
from widthwise.tests.objectives.data.streams.sets import Numbered, Stream, read

ARRAYS = Data(
    name="arrays",
    task=Task.REGRESSION,
    outputs=1,
    train=Split(inputs=torch.arange(80.0).view(20, 4), targets=torch.arange(20.0)),
    validation=Split(inputs=torch.zeros(10, 4), targets=torch.zeros(10)),
    test=Split(inputs=torch.zeros(5, 4), targets=torch.zeros(5)),
)
BATCHES = read((Numbered(20), Numbered(10), Numbered(5)), batch_size=8)


def test_the_first_rows() -> None:
    arrays, batches = first_rows(ARRAYS, 2), first_rows(BATCHES, 2)
    assert arrays.args[0].tolist() == ARRAYS.train.inputs[:2].tolist()
    assert arrays.rows == batches.rows == 2
    assert batches.args[0].tolist() == BATCHES.example.args[0][:2].tolist()
    assert len(batches.targets) == 2


def test_one_input_has_a_shape() -> None:
    assert input_shape(ARRAYS) == input_shape(BATCHES) == (4,)
    streamed = read((Stream(20), Stream(10)), batch_size=8, steps_per_epoch=2)
    assert input_shape(streamed) is None  # by keyword: it is the model that knows its name


def test_how_many() -> None:
    assert steps_per_epoch(ARRAYS, 1, 8) == steps_per_epoch(BATCHES, 1, 64) == 3
    assert training_rows(ARRAYS, 1) == training_rows(BATCHES, 1) == 20
    assert training_rows(ARRAYS, 1, share=0.5) == 10
    assert sample_counts(ARRAYS) == sample_counts(BATCHES) == (20, 10)


def test_a_stream_that_does_not_say_has_whole_batches() -> None:
    streamed = read((Stream(20), Stream(10)), batch_size=8, steps_per_epoch=2)
    assert training_rows(streamed, 1) is None
    assert sample_counts(streamed)[0] == 16
