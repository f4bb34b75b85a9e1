"""The memory benchmark: a row shows what was predicted, what was held, and the error between."""

from widthwise.benchmarks.memory.__main__ import _percent, _table, measure_all
from widthwise.benchmarks.memory.architectures import ARCHITECTURES


def test_a_row_of_the_table() -> None:
    (row,) = measure_all("five heads, SGD")
    figures = row["train_memory"]
    assert figures["predicted"] == figures["allocator without scratch"]
    assert figures["predicted"] <= figures["allocator"] < 1.01 * figures["predicted"]
    line = _table([row]).splitlines()[-1]
    assert line.startswith(f"| five heads, SGD | {figures['predicted']:,} |")


def test_errors_have_a_sign() -> None:
    assert [_percent(*pair) for pair in ((100, 100), (90, 100), (110, 100))] == [
        "0",
        "-10.00 %",
        "+10.00 %",
    ]


def test_there_are_as_many_architectures_as_the_docs_say() -> None:
    assert len(ARCHITECTURES) == 56
