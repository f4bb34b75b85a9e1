"""Checkpoints: snapshots as files, of which the newest intact one is read.

A folder holds one candidate's checkpoints: `00000001.safetensors` is the first, and the two newest
stay. A file is written under another name, flushed to the disk and then renamed, so that it is
there whole or not at all; a digest over tensors and metadata detects later damage. Nothing in a
file is executed when it is read: safetensors holds the tensors, JSON the rest.

The weights of a final training are a file of their own, plain safetensors for other programs.

Entry points: `write`, `read`; `write_weights`, `read_weights_identity`.
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
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from ..errors import describe_error
from .snapshot import Snapshot

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Of the file; another one is not read."""

KEPT_FILES = 2
"""Newest files that stay: should the last be damaged, the one before is read."""

_IDENTITY_KEY = "widthwise"
"""Of the metadata of a file of weights."""

_LENGTH_BYTES = 8
"""Bytes at the start of a safetensors file that hold the length of its header in JSON."""

_FILE_NAME = re.compile(r"(\d{8,})\.safetensors")
_UNFINISHED_SUFFIX = ".unfinished"
_ABANDONED_SECONDS = 3600.0
"""Seconds after which an unfinished file is taken as left by a killed worker."""


def write(folder: Path, snapshot: Snapshot, identity: Mapping[str, Any]) -> Path:
    """Write a checkpoint and return its file.

    Args:
        folder: The candidate's; made where it is missing.
        snapshot: The state of its training.
        identity: What the snapshot is of, as JSON has it; `read` must be given the same.

    Raises:
        OSError: It cannot be written: the disk is full, say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    newest = max((number for number, _ in _numbered_files(folder)), default=0)
    target = folder / f"{newest + 1:08d}.safetensors"
    unfinished = target.with_name(f"{target.stem}.{os.getpid()}{_UNFINISHED_SUFFIX}")
    try:
        _save(unfinished, snapshot, identity)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _fsync_folder(folder)
    _remove_old(folder, target)
    return target


def read(folder: Path, identity: Mapping[str, Any]) -> Snapshot | None:
    """Return the newest intact snapshot of this identity; None without one.

    A warning is logged for each file that is skipped.
    """
    try:
        files = sorted(_numbered_files(folder), reverse=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("checkpoints in %s cannot be read: %s", folder, describe_error(error))
        return None
    for _, file in files:
        try:
            return _load(file, identity)
        except FileNotFoundError:
            continue  # another worker, who has written newer ones, has just removed it
        except Exception as error:  # whatever is in the file, it must not end a training
            _log.warning("checkpoint %s is passed over: %s", file, describe_error(error))
    return None


def write_weights(file: Path, weights: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write a `state_dict` as safetensors, in place of what is there, whole or not at all.

    Args:
        file: Where; its folder is made where it is missing.
        weights: By name; what is no tensor (an extra state of a module's own) cannot be in such a
            file, and is left out.
        identity: What the weights are of, as JSON has it: under "widthwise" in the file's metadata.

    Raises:
        OSError: It cannot be written: the disk is full, say.
    """
    # A tied parameter stands under each of its names, as `load_state_dict` asks for them.
    tensors = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in weights.items()
        if isinstance(tensor, Tensor)
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.stem}.{os.getpid()}{_UNFINISHED_SUFFIX}")
    try:
        with unfinished.open("wb") as stream:
            stream.write(save(tensors, {_IDENTITY_KEY: json.dumps(identity), "format": "pt"}))
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _fsync_folder(file.parent)


def read_weights_identity(file: Path) -> Any:
    """Return what the weights in a file are of; None where it does not say.

    Raises:
        OSError: The file cannot be read.
        SafetensorError: It is damaged.
    """
    with safe_open(file, framework="pt") as stored:
        metadata = stored.metadata() or {}
    return json.loads(metadata.get(_IDENTITY_KEY, "null"))


def content_digest(header_json: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a checkpoint's header and tensors."""
    digest = hashlib.sha256(header_json.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class _CorruptCheckpoint(Exception):
    """A damaged file, or one of another format or identity."""


def _save(file: Path, snapshot: Snapshot, identity: Mapping[str, Any]) -> None:
    tensors, complex_names = _complex_as_real(snapshot.tensors)
    header_json = json.dumps(
        {
            "format": FORMAT_VERSION,
            "identity": identity,
            "epochs": snapshot.epochs,
            "facts": snapshot.metadata,
            "complex": complex_names,
        }
    )
    contents = save(
        tensors, {"snapshot": header_json, "digest": content_digest(header_json, tensors)}
    )
    with file.open("wb") as stream:
        stream.write(contents)
        stream.flush()
        os.fsync(stream.fileno())


def _load(file: Path, identity: Mapping[str, Any]) -> Snapshot:
    # Read, not mapped into memory: a mapped file that another machine removes kills the process.
    contents = file.read_bytes()
    tensors = load(contents)
    header_end = _LENGTH_BYTES + int.from_bytes(contents[:_LENGTH_BYTES], "little")
    metadata = json.loads(contents[_LENGTH_BYTES:header_end]).get("__metadata__", {})
    header_json = metadata.get("snapshot", "")
    if metadata.get("digest") != content_digest(header_json, tensors):
        raise _CorruptCheckpoint("its digest is not that of its contents")
    header = json.loads(header_json)
    if header["format"] != FORMAT_VERSION:
        raise _CorruptCheckpoint(
            f"its format is {header['format']}, this release reads {FORMAT_VERSION}"
        )
    if header["identity"] != json.loads(json.dumps(identity)):
        raise _CorruptCheckpoint(f"it is of {header['identity']}, wanted is {dict(identity)}")
    for name in header["complex"]:
        tensors[name] = torch.view_as_complex(tensors[name])
    return Snapshot(epochs=header["epochs"], tensors=tensors, metadata=header["facts"])


def _complex_as_real(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors with complex ones as pairs of real numbers, and the names of the complex."""
    complex_names = [name for name, tensor in tensors.items() if tensor.is_complex()]
    pairs = {name: torch.view_as_real(tensors[name]).clone() for name in complex_names}
    return {**tensors, **pairs}, complex_names


def _numbered_files(folder: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints in a folder with their numbers; raises OSError."""
    matches = ((_FILE_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return [(int(match[1]), path) for match, path in matches if match]


def _remove_old(folder: Path, newest: Path) -> None:
    """Remove all but the newest files, and what killed workers left unfinished long ago."""
    old = [file for _, file in sorted(_numbered_files(folder))[:-KEPT_FILES]]
    # By the clock of the machine that holds the folder.
    abandoned_before = newest.stat().st_mtime - _ABANDONED_SECONDS
    for file in (*old, *folder.glob(f"*{_UNFINISHED_SUFFIX}")):
        with contextlib.suppress(FileNotFoundError):  # another worker removes files, too
            if file in old or file.stat().st_mtime < abandoned_before:
                file.unlink()


def _fsync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
