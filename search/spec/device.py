"""The device that a spec or a flag names: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

Whether it is there, only the machine that trains knows (`resolve_device`).

What memory is counted for may be another device: `cuda`, or `cuda:9.0` with a GPU's compute
capability, where there is none.

Entry points: `check_device`, `device_kind`, `device_for`; `parse_memory_device`.
"""

from __future__ import annotations

import re
from typing import Literal

from ..errors import SpecError

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?")
EXPECTED_DEVICES = '"auto", "cpu", "cuda", "cuda:1" (a GPU by its number) or "mps"'


_MEMORY_DEVICE = re.compile(r"(cpu)|(cuda)(?::([1-9][0-9]?)\.([0-9]))?")
EXPECTED_MEMORY_DEVICES = '"cpu", "cuda" or "cuda:9.0" (a GPU by its compute capability)'


def parse_memory_device(
    name: str,
) -> tuple[Literal["cpu", "cuda"], tuple[int, int] | None]:
    """Return the kind of device that memory is counted for, and a GPU's capability if given.

    Raises:
        ValueError: It is neither; the sentence says what is expected.
    """
    match = _MEMORY_DEVICE.fullmatch(name)
    if match is None:
        raise ValueError(f'found "{name[:60]}", expected {EXPECTED_MEMORY_DEVICES}')
    if match[1]:
        return "cpu", None
    return "cuda", None if match[3] is None else (int(match[3]), int(match[4]))


def check_memory_device(name: str) -> str:
    """Return the name of what memory is counted for.

    Raises:
        ValueError: It is none.
    """
    parse_memory_device(name)
    return name


def parse_memory_option(text: object) -> str:
    """Return what `--for` names.

    Raises:
        SpecError: It names no device that memory can be counted for.
    """
    try:
        return check_memory_device(str(text))
    except ValueError as error:
        raise SpecError(f"--for: {error}") from None


def check_device(name: str) -> str:
    """Return the name of a device.

    Raises:
        ValueError: There is no such kind of device; the sentence says which there are.
    """
    if not _DEVICE.fullmatch(name):
        raise ValueError(f'found "{name[:60]}", expected {EXPECTED_DEVICES}')
    return name


def device_kind(name: str) -> str:
    """Return a device's name without its number."""
    return name.partition(":")[0]


def parse_device_option(text: object) -> str:
    """Return the device that `--device` names.

    Raises:
        SpecError: It names none.
    """
    try:
        return check_device(str(text))
    except ValueError as error:
        raise SpecError(f"--device: {error}") from None


def device_for(study: str, spec_device: str, requested: str | None) -> str:
    """Return the device that a worker trains a study on.

    Args:
        study: Its name, for the message.
        spec_device: What its spec in the database says.
        requested: What `--device` says; None or "auto" for what the spec says.

    Raises:
        SpecError: They are of two kinds.
    """
    if requested in (None, "auto"):
        return spec_device
    assert requested is not None
    if device_kind(requested) != device_kind(spec_device):
        raise SpecError(
            f'--device: found "{requested}", but study {study} is counted and trained on '
            f'"{spec_device}"; leave the flag out, or start a study of another name with it'
        )
    return requested
