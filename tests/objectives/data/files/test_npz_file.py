"""NumPy archives: samples in one array, or an array for each column."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.data.files.data_file import read_file
from widthwise.objectives.data.files.npz_file import read_npz
from widthwise.objectives.data.load import (
    make_dataset,
)
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.sources import (
    LABEL,
    NUMBER,
    RNG,
    ROWS,
    all_inputs,
    archive,
    assert_refused,
    joined_notes,
    load_file,
    write_bytes,
)


@pytest.mark.parametrize("name", ["x", "X", "inputs"])
def test_an_archive_of_samples(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path, **{name: RNG.normal(size=(ROWS, 5)), "y": LABEL, "more": [1]})
    data = load_file(path, "y", seed=0)
    assert (data.input_shape, data.classes) == ((5,), ("no", "yes"))
    assert "left out arrays: 'more'" in joined_notes(data)


def test_an_archive_of_columns(tmp_path: Path) -> None:
    path = archive(tmp_path, a=NUMBER, b=NUMBER**2, y=NUMBER + 0.5)
    data = load_file(path, "y", seed=0)
    assert (data.input_shape, data.task) == ((2,), "regression")


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        pytest.param((8, 8), False, (8, 8), id="grey"),
        pytest.param((8, 8), True, (1, 8, 8), id="grey, for a cnn"),
        pytest.param((3, 9, 9), False, (3, 9, 9), id="colour"),
        pytest.param((9, 9, 3), True, (3, 9, 9), id="channels last"),
    ],
)
def test_an_archive_of_images(
    shape: tuple[int, ...], image: bool, expected: tuple[int, ...], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 256, size=(ROWS, *shape), dtype=np.uint8)
    data = load_file(archive(tmp_path, x=x, y=np.arange(ROWS) % 3), "y", seed=0, image=image)
    assert data.input_shape == expected
    assert float(data.train.inputs.mean()) == pytest.approx(0, abs=1e-3)
    assert float(data.train.inputs.std()) == pytest.approx(1, abs=1e-2)


def test_gaps_in_images_are_the_mean(tmp_path: Path) -> None:
    x = RNG.normal(size=(ROWS, 3, 4, 4))
    x[:, 0, 0, 0] = np.nan
    data = load_file(archive(tmp_path, x=x, y=LABEL), "y", seed=0)
    assert (all_inputs(data)[:, 0, 0, 0] == 0).all()
    assert f"took {ROWS} missing" in joined_notes(data)


def test_images_belong_to_their_targets(tmp_path: Path) -> None:
    x = (np.arange(ROWS) % 2)[:, None, None] * np.ones((1, 4, 4))
    data = load_file(archive(tmp_path, x=x, y=np.arange(ROWS) % 2), "y", seed=0)
    assert torch.equal((data.test.inputs[:, 0, 0] > 0).long(), data.test.targets)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (None, "needs a target"),
        ("lable", "has no array 'lable'"),
        ("label", "has no array of samples beside 'label'"),
    ],
)
def test_what_is_missing_beside_arrays_of_several_axes_is_named(
    target: str | None, says: str, tmp_path: Path
) -> None:
    path = archive(tmp_path, pixels=np.zeros((ROWS, 3, 4, 4)), label=LABEL)
    with pytest.raises(DataError, match=says):
        read_npz(path, target)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({}, "holds no arrays"),
    "no target array": ({"x": np.eye(ROWS), "y": LABEL}, "'x' (60, 60), 'y' (60,)"),
    "uneven arrays": ({"x": np.eye(ROWS), "label": LABEL[:30]}, "'x' 60, 'label' 30"),
    "uneven columns": ({"a": NUMBER, "label": LABEL[:30]}, "'a' 60, 'label' 30"),
    "objects": ({"a": np.array([{}] * ROWS), "label": LABEL}, "holds Python objects"),
    "text images": ({"x": np.full((ROWS, 2, 2), "a"), "label": LABEL}, "give numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_archive_that_cannot_be_used_is_refused_in_one_sentence(
    case: str, tmp_path: Path
) -> None:
    arrays, says = REFUSED[case]
    assert_refused(archive(tmp_path, **arrays), says)


def test_a_corrupt_archive_is_refused(tmp_path: Path) -> None:
    assert_refused(write_bytes(tmp_path / "a.npz", b"PK\3\4broken"), "read as .npz")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", NUMBER)
    assert_refused((tmp_path / "a.npy").rename(tmp_path / "a.npz"), "is a single array")


@pytest.mark.parametrize(
    "arrays",
    [{"a": NUMBER, "label": LABEL}, {"x": np.eye(ROWS), "label": LABEL}],
    ids=["columns", "rows"],
)
def test_an_archive_without_images_gives_none(arrays: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images \(channels, height, width\) are asked for"):
        make_dataset(read_file(archive(tmp_path, **arrays), "label", image=True), seed=0)


STRUCTURED = np.array([(1.0, "x"), (2.0, "y")] * 30, dtype=[("a", "f8"), ("label", "U1")])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"rows": STRUCTURED}, "array 'rows' of .* is structured, with the fields 'a', 'label'"),
        ({"x": NUMBER, "label": STRUCTURED}, "array 'label' of .* is structured"),
        ({"x": np.rec.array(STRUCTURED), "y": LABEL}, "array 'x' of .* is structured"),
        ({"x": np.zeros(60, "V4"), "label": LABEL}, "of type |V4"),
        ({"x": NUMBER, "label": np.array([b"\xff\xfe"] * 60)}, "bytes that are no text"),
        ({"x": NUMBER, "label": np.array([None, "a"] * 30)}, "holds Python objects"),
        ({"x": NUMBER[:-1], "label": LABEL}, "differ in rows"),
    ],
)
def test_arrays_that_are_no_columns_are_refused(
    arrays: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        load_file(archive(tmp_path, **arrays), "label")


def test_bytes_are_text_and_numbers_of_another_byte_order_are_numbers(tmp_path: Path) -> None:
    plain = load_file(archive(tmp_path, a=NUMBER, label=LABEL), "label")
    other = load_file(
        archive(tmp_path, a=NUMBER.astype(">f8"), label=np.char.encode(LABEL)), "label"
    )
    assert plain.classes == other.classes
    assert torch.equal(plain.train.inputs, other.train.inputs)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_an_archive_that_is_cut_short_or_damaged_is_refused(keep: float, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "rows.npz", x=NUMBER, label=LABEL)
    content = (tmp_path / "rows.npz").read_bytes()
    end = int(keep * len(content))
    zeroed = content[: end // 4] + bytes(end // 4) + content[end // 2 :]
    for damaged in (content[:end], zeroed):
        assert_refused(write_bytes(tmp_path / "rows.npz", damaged), "cannot be read as .npz")


def test_a_member_that_is_no_array_is_left_out(tmp_path: Path) -> None:
    path = archive(tmp_path, a=NUMBER, label=LABEL)
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("readme.txt", "about the rows")
    assert load_file(path, "label").input_shape == (1,)
