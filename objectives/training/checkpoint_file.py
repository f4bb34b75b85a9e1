"""Checkpoints: snapshots as files, of which the newest whole one counts.

A folder holds one candidate's, `00000001.safetensors` the first and the two newest at most. A file
is written beside them, flushed to the disk and then renamed, so that it is there whole or not at
all; a digest over numbers and facts tells one that was damaged later. Nothing in it is executed
when it is read: safetensors for the numbers, JSON for the rest.

Entry points: `write`, `read`.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..errors import reason
from .snapshot import Snapshot

_log = logging.getLogger(__name__)

FORMAT = 1
"""Of the file; another one is not read."""

KEPT = 2
"""Newest files that stay: should the last one be damaged, there is the one before."""

_LENGTH = 8
"""Bytes of a safetensors file that say how long its header is, which follows as JSON."""

_NAME = re.compile(r"(\d{8,})\.safetensors")
_UNFINISHED = ".unfinished"
_ABANDONED = 3600.0
"""Seconds after which nobody is still writing a file: a worker may be late, and another on it."""


def write(folder: Path, snapshot: Snapshot, identity: Mapping[str, Any]) -> Path:
    """Write a checkpoint and return its file.

    Args:
        folder: The candidate's; made where it is missing.
        snapshot: Where its training stands.
        identity: What it is of, as JSON has it; `read` wants the same.

    Raises:
        OSError: It cannot be written, the disk is full for one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    newest = max((number for number, _ in _files(folder)), default=0)
    target = folder / f"{newest + 1:08d}.safetensors"
    unfinished = target.with_name(f"{target.stem}.{os.getpid()}{_UNFINISHED}")
    try:
        _save(unfinished, snapshot, identity)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _flush(folder)
    _clear(folder, target)
    return target


def read(folder: Path, identity: Mapping[str, Any]) -> Snapshot | None:
    """Return the newest snapshot that is whole and of this identity; None without one.

    What is passed over is said in a warning.
    """
    try:
        files = sorted(_files(folder), reverse=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("checkpoints in %s cannot be read: %s", folder, reason(error))
        return None
    for _, file in files:
        try:
            return _load(file, identity)
        except FileNotFoundError:
            continue  # another worker, who has written newer ones, has just cleared it away
        except Exception as error:  # whatever is in the file, it must not end a training
            _log.warning("checkpoint %s is passed over: %s", file, reason(error))
    return None


class _Damaged(Exception):
    """A file that is not what was written, or was not written for this."""


def _save(file: Path, snapshot: Snapshot, identity: Mapping[str, Any]) -> None:
    tensors, complex_ = _real(snapshot.tensors)
    told = json.dumps(
        {
            "format": FORMAT,
            "identity": identity,
            "epochs": snapshot.epochs,
            "facts": snapshot.facts,
            "complex": complex_,
        }
    )
    contents = save(tensors, {"snapshot": told, "digest": _digest(told, tensors)})
    with file.open("wb") as opened:
        opened.write(contents)
        opened.flush()
        os.fsync(opened.fileno())


def _load(file: Path, identity: Mapping[str, Any]) -> Snapshot:
    # Read, not mapped into memory: a mapped file that another machine removes kills the process.
    contents = file.read_bytes()
    tensors = load(contents)
    end = _LENGTH + int.from_bytes(contents[:_LENGTH], "little")
    metadata = json.loads(contents[_LENGTH:end]).get("__metadata__", {})
    told = metadata.get("snapshot", "")
    if metadata.get("digest") != _digest(told, tensors):
        raise _Damaged("its digest is not that of its contents")
    found = json.loads(told)
    if found["format"] != FORMAT:
        raise _Damaged(f"its format is {found['format']}, this release reads {FORMAT}")
    if found["identity"] != json.loads(json.dumps(identity)):
        raise _Damaged(f"it is of {found['identity']}, wanted is {dict(identity)}")
    for name in found["complex"]:
        tensors[name] = torch.view_as_complex(tensors[name])
    return Snapshot(epochs=found["epochs"], tensors=tensors, facts=found["facts"])


def _real(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors with complex ones as pairs of real numbers, and the names of those."""
    complex_ = [name for name, one in tensors.items() if one.is_complex()]
    pairs = {name: torch.view_as_real(tensors[name]).clone() for name in complex_}
    return {**tensors, **pairs}, complex_


def _digest(told: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(told.encode())
    for name in sorted(tensors):
        one = tensors[name]
        found.update(f"\n{name} {one.dtype} {list(one.shape)}\n".encode())
        found.update(one.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _files(folder: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints in a folder with their numbers; raises OSError."""
    matches = ((_NAME.fullmatch(one.name), one) for one in folder.iterdir())
    return [(int(match[1]), one) for match, one in matches if match]


def _clear(folder: Path, newest: Path) -> None:
    """Remove all but the newest, and what killed workers left unfinished long ago."""
    old = [file for _, file in sorted(_files(folder))[:-KEPT]]
    left = newest.stat().st_mtime - _ABANDONED  # by the clock of the folder's own machine
    for file in (*old, *folder.glob(f"*{_UNFINISHED}")):
        with contextlib.suppress(FileNotFoundError):  # another worker clears, too
            if file in old or file.stat().st_mtime < left:
                file.unlink()


def _flush(folder: Path) -> None:
    """Have a folder's entries on the disk, where the file system flushes folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
