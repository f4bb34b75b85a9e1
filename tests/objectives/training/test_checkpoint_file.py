"""Checkpoint files: the newest intact one of the right candidate is read."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from torch import Tensor
from widthwise.objectives.training import checkpoint_file
from widthwise.objectives.training.snapshot import Snapshot

IDENTITY = {"fingerprint": "abc", "slot": 3, "widths": {"a": 4}, "seed": 2**62}
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64, torch.complex128),
]


def snapshot(epochs: float = 1.0, size: int = 5) -> Snapshot:
    stream = torch.Generator().manual_seed(int(epochs))
    return Snapshot(
        epochs=epochs,
        tensors={"0.model.weight": torch.randn(size, 3, generator=stream)},
        metadata={"members": [{"course": {"curve": [0.1, epochs]}, "progress": None}]},
    )


def is_same_snapshot(value: Snapshot | None, other: Snapshot) -> bool:
    return (
        value is not None
        and (value.epochs, json.dumps(value.metadata)) == (other.epochs, json.dumps(other.metadata))
        and value.tensors.keys() == other.tensors.keys()
        and all(is_same_bits(tensor, other.tensors[name]) for name, tensor in value.tensors.items())
    )


def is_same_bits(value: Tensor, other: Tensor) -> bool:
    alike = value.dtype == other.dtype and value.shape == other.shape
    return alike and bytes_of(value) == bytes_of(other)


def bytes_of(tensor: Tensor) -> list[int]:
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What is written is read


@settings(deadline=None, max_examples=40)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 3), max_size=3),
    names_=st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=3),
    facts=st.dictionaries(
        st.text(max_size=4),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    ),
    epochs=st.floats(0, 1e6),
)
def test_what_is_written_is_read_bit_for_bit(
    dtype: Any, shape: list[int], names_: list[str], facts: dict[str, Any], epochs: float
) -> None:
    written = Snapshot(
        epochs=epochs,
        tensors={f"0.{name}": (9 * torch.rand(shape)).to(dtype) for name in names_},
        metadata=facts,
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoint_file.write(Path(folder) / "slot" / "deeper", written, IDENTITY)
        assert is_same_snapshot(
            checkpoint_file.read(Path(folder) / "slot" / "deeper", IDENTITY), written
        )


def test_the_two_newest_stay_and_numbers_rise(tmp_path: Path) -> None:
    for epochs in range(1, 6):
        file = checkpoint_file.write(tmp_path, snapshot(epochs), IDENTITY)
        assert is_same_snapshot(checkpoint_file.read(tmp_path, IDENTITY), snapshot(epochs))
        assert file.name == f"{epochs:08d}.safetensors"
    assert names(tmp_path) == ["00000004.safetensors", "00000005.safetensors"]
    file.rename(tmp_path / "123456789.safetensors")
    checkpoint_file.write(tmp_path, snapshot(9), IDENTITY)
    assert names(tmp_path) == ["123456789.safetensors", "123456790.safetensors"]
    assert is_same_snapshot(checkpoint_file.read(tmp_path, IDENTITY), snapshot(9))


def test_where_nothing_was_written_nothing_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint_file.read(tmp_path / "missing", IDENTITY) is None
    assert checkpoint_file.read(tmp_path, IDENTITY) is None
    assert not caplog.records


def test_a_read_snapshot_outlives_its_file(tmp_path: Path) -> None:
    checkpoint_file.write(tmp_path, snapshot(), IDENTITY)
    snapshot_read = checkpoint_file.read(tmp_path, IDENTITY)
    shutil.rmtree(tmp_path)
    assert is_same_snapshot(snapshot_read, snapshot())


# Damage


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_truncated_file_falls_back_to_the_one_before(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint_file.write(folder, snapshot(1), IDENTITY)
        newest = checkpoint_file.write(folder, snapshot(2), IDENTITY)
        contents = newest.read_bytes()
        newest.write_bytes(contents[: data.draw(st.integers(0, len(contents) - 1))])
        assert is_same_snapshot(checkpoint_file.read(folder, IDENTITY), snapshot(1))


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_a_damaged_byte_never_reaches_a_training(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint_file.write(folder, snapshot(1), IDENTITY)
        newest = checkpoint_file.write(folder, snapshot(2), IDENTITY)
        contents = bytearray(newest.read_bytes())
        offset = data.draw(st.integers(0, len(contents) - 1))
        contents[offset] ^= data.draw(st.integers(1, 255))
        newest.write_bytes(contents)
        snapshot_read = checkpoint_file.read(folder, IDENTITY)
        # A blank of the header's padding may become another blank.
        assert is_same_snapshot(snapshot_read, snapshot(1)) or is_same_snapshot(
            snapshot_read, snapshot(2)
        )


def write_rubbish(file: Path) -> None:
    file.write_bytes(os.urandom(200))


def write_empty(file: Path) -> None:
    file.write_bytes(b"")


def write_endless_header(file: Path) -> None:
    file.write_bytes((2**63).to_bytes(8, "little") + b"{}")


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def make_broken_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("elsewhere")


def write_without_metadata(file: Path) -> None:
    file.write_bytes(save({"0.model.weight": torch.zeros(2)}))


def write_other_format(file: Path) -> None:
    header = json.dumps(
        {"format": 99, "identity": IDENTITY, "epochs": 1.0, "facts": {}, "complex": []}
    )
    digest = checkpoint_file.content_digest(header, {})
    file.write_bytes(save({}, {"snapshot": header, "digest": digest}))


class Bomb:
    """Ends the process when it is unpickled."""

    def __reduce__(self) -> Any:
        return os._exit, (77,)


def write_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps(Bomb()))


def write_with_torch(file: Path) -> None:
    torch.save({"0.model.weight": Bomb()}, file)


@pytest.mark.parametrize(
    "damage",
    [
        write_rubbish,
        write_empty,
        write_endless_header,
        make_folder,
        make_broken_link,
        write_without_metadata,
        write_other_format,
        write_pickle,
        write_with_torch,
    ],
    ids=lambda change: change.__name__,
)
def test_an_unreadable_file_falls_back_with_a_warning(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint_file.write(tmp_path, snapshot(1), IDENTITY)
    damage(checkpoint_file.write(tmp_path, snapshot(2), IDENTITY))
    assert is_same_snapshot(checkpoint_file.read(tmp_path, IDENTITY), snapshot(1))
    if damage is not make_broken_link:
        (record,) = caplog.records
        assert "00000002.safetensors is passed over" in record.getMessage()
    # The next one comes after it all the same.
    checkpoint_file.write(tmp_path, snapshot(3), IDENTITY)
    assert is_same_snapshot(checkpoint_file.read(tmp_path, IDENTITY), snapshot(3))


def test_nothing_is_read_where_all_files_are_damaged(tmp_path: Path) -> None:
    for epochs in (1, 2):
        write_rubbish(checkpoint_file.write(tmp_path, snapshot(epochs), IDENTITY))
    assert checkpoint_file.read(tmp_path, IDENTITY) is None


@pytest.mark.parametrize(
    "other",
    [{"fingerprint": "abd"}, {"slot": 4}, {"widths": {"a": 5}}, {"seed": 1}, {"more": None}],
    ids=lambda identity: next(iter(identity)),
)
def test_a_checkpoint_of_another_identity_is_not_read(
    other: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint_file.write(tmp_path, snapshot(1), IDENTITY)
    checkpoint_file.write(tmp_path, snapshot(2), {**IDENTITY, **other})
    assert is_same_snapshot(checkpoint_file.read(tmp_path, IDENTITY), snapshot(1))
    assert "wanted is" in caplog.text
    assert checkpoint_file.read(tmp_path, {}) is None


def test_an_unreadable_folder_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert checkpoint_file.read(tmp_path / "file", IDENTITY) is None
    assert "cannot be read" in caplog.text


def test_no_pickle_is_written_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("pickle")

    for module, name in [
        (pickle, "loads"),
        (pickle, "load"),
        (pickle, "dumps"),
        (pickle, "dump"),
        (pickle, "Unpickler"),
        (pickle, "Pickler"),
        (torch, "load"),
        (torch, "save"),
    ]:
        monkeypatch.setattr(module, name, refuse)
    checkpoint_file.write(tmp_path, snapshot(), IDENTITY)
    assert is_same_snapshot(checkpoint_file.read(tmp_path, IDENTITY), snapshot())


# Writing that fails or is killed


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        checkpoint_file.write(tmp_path / "file" / "slot", snapshot(), IDENTITY)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    checkpoint_file.write(tmp_path, snapshot(1), IDENTITY)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError):
            checkpoint_file.write(tmp_path, snapshot(2, size=10_000), IDENTITY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == ["00000001.safetensors"]
    assert is_same_snapshot(checkpoint_file.read(tmp_path, IDENTITY), snapshot(1))


def test_only_abandoned_unfinished_files_are_removed(
    tmp_path: Path,
) -> None:
    abandoned, present = (tmp_path / f"00000001.{n}.unfinished" for n in (7, 8))
    for file in (abandoned, present):
        file.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    checkpoint_file.write(tmp_path, snapshot(), IDENTITY)
    assert names(tmp_path) == ["00000001.8.unfinished", "00000001.safetensors"]


WRITER = """
import sys
from pathlib import Path
from widthwise.objectives.training import checkpoint_file
from widthwise.tests.objectives.training.test_checkpoint_file import IDENTITY, snapshot
print("ready", flush=True)
number = 0
while True:
    number += 1
    checkpoint_file.write(Path(sys.argv[1]), snapshot(number, size=2000), IDENTITY)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_intact_files(tmp_path: Path) -> None:
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        written = [int(writer.stdout.readline()) for _ in range(attempt + 1)][-1]
        writer.kill()
        written = max([written, *map(int, writer.stdout.read().split())])
        writer.wait()
        writer.stdout.close()
        snapshot_read = checkpoint_file.read(folder, IDENTITY)
        assert snapshot_read is not None
        assert written <= snapshot_read.epochs <= written + 1
        assert is_same_snapshot(snapshot_read, snapshot(snapshot_read.epochs, size=2000))


# Weights


def test_weights_are_plain_safetensors_and_say_what_they_are_of(tmp_path: Path) -> None:
    file, shared = tmp_path / "new" / "3.safetensors", torch.randn(4, 6)
    weights = {"embed": shared, "head": shared, "view": shared.T, "extra": {"no": "tensor"}}
    checkpoint_file.write_weights(file, weights, IDENTITY)
    stored = load_file(file)
    assert stored.keys() == {"embed", "head", "view"}
    assert all(torch.equal(stored[name], weights[name]) for name in stored)  # type: ignore[arg-type]
    assert checkpoint_file.read_weights_identity(file) == IDENTITY
    assert [path.name for path in file.parent.iterdir()] == ["3.safetensors"]


def test_weights_of_another_program_say_nothing(tmp_path: Path) -> None:
    file = tmp_path / "theirs.safetensors"
    file.write_bytes(save({"a": torch.ones(2)}))
    assert checkpoint_file.read_weights_identity(file) is None


def test_weights_that_cannot_be_written_leave_the_old_ones(tmp_path: Path) -> None:
    file = tmp_path / "3.safetensors"
    checkpoint_file.write_weights(file, {"a": torch.ones(2)}, IDENTITY)
    with pytest.raises(OSError, match="3"):
        checkpoint_file.write_weights(file / "4.safetensors", {"a": torch.zeros(2)}, IDENTITY)
    assert torch.equal(load_file(file)["a"], torch.ones(2))
