"""The device that a spec or a flag names: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

Whether it is there, only the machine that trains knows (`resolve_device`).

Entry points: `check_device`, `device_kind`, `device_for`.
"""

from __future__ import annotations

import re

from ..errors import SpecError

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?")
EXPECTED_DEVICES = '"auto", "cpu", "cuda", "cuda:1" (a GPU by its number) or "mps"'


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
