"""What a training changes of its process is put back: the next trial does not notice."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.own_training.process_state import restored_process_state

Change = tuple[Callable[[], Any], Callable[[Path], object]]


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _redirect_descriptor(folder: Path) -> None:
    with (folder / "prints.txt").open("w") as file:
        os.dup2(file.fileno(), 1)


CHANGES: dict[str, Change] = {
    "folder": (os.getcwd, os.chdir),
    "variable": (
        lambda: os.environ.get("WIDTHWISE_TEST"),
        lambda _: os.environ.update(WIDTHWISE_TEST="1"),
    ),
    "no variable": (lambda: os.environ.get("HOME"), lambda _: os.environ.pop("HOME", None)),
    "path": (lambda: list(sys.path), lambda path: sys.path.insert(0, str(path))),
    "arguments": (lambda: list(sys.argv), lambda _: sys.argv.append("--train")),
    "stdout": (lambda: sys.stdout, lambda _: setattr(sys, "stdout", sys.stderr)),
    "closed stdout": (lambda: sys.stdout, lambda _: setattr(sys, "stdout", None)),
    "signal": (
        lambda: signal.getsignal(signal.SIGUSR1),
        lambda _: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    ),
    "alarm": (
        lambda: signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 0,
        lambda _: signal.setitimer(signal.ITIMER_VIRTUAL, 600),
    ),
    "blocked signals": (
        lambda: set(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    ),
    "mask of new files": (_read_umask, lambda _: os.umask(0o777)),
    "descriptor": (lambda: os.fstat(1).st_ino, _redirect_descriptor),
    "excepthook": (lambda: sys.excepthook, lambda _: setattr(sys, "excepthook", print)),
    "recursion": (sys.getrecursionlimit, lambda _: sys.setrecursionlimit(5000)),
    "logging level": (
        lambda: logging.getLogger().level,
        lambda _: logging.getLogger().setLevel(logging.CRITICAL),
    ),
    "a logger's level": (
        lambda: logging.getLogger("widthwise.objectives").level,
        lambda _: logging.getLogger("widthwise.objectives").setLevel(logging.CRITICAL),
    ),
    "logging off": (
        lambda: logging.getLogger().isEnabledFor(logging.CRITICAL),
        lambda _: logging.disable(logging.CRITICAL),
    ),
    "a handler": (
        lambda: list(logging.getLogger().handlers),
        lambda _: logging.getLogger().addHandler(logging.NullHandler()),
    ),
    "warnings": (lambda: list(warnings.filters), lambda _: warnings.simplefilter("ignore")),
    "collector": (gc.isenabled, lambda _: gc.disable()),
    "sockets": (socket.getdefaulttimeout, lambda _: socket.setdefaulttimeout(5.0)),
    "numpy": (np.geterr, lambda _: np.seterr(all="ignore")),
    "default type": (
        torch.get_default_dtype,
        lambda _: torch.set_default_dtype(torch.float64),
    ),
    "default device": (
        lambda: torch.empty(1).device,
        lambda _: torch.set_default_device("meta"),
    ),
    "threads": (torch.get_num_threads, lambda _: torch.set_num_threads(3)),
    "gradients": (torch.is_grad_enabled, lambda _: torch.set_grad_enabled(False)),
    "anomalies": (
        torch.is_anomaly_enabled,
        lambda _: torch.autograd.set_detect_anomaly(True, check_nan=False),
    ),
    "deterministic": (
        torch.are_deterministic_algorithms_enabled,
        lambda _: torch.use_deterministic_algorithms(True),
    ),
    "products": (
        torch.get_float32_matmul_precision,
        lambda _: torch.set_float32_matmul_precision("medium"),
    ),
    "autocast": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda _: torch.set_autocast_enabled("cpu", True),
    ),
    "cudnn": (
        lambda: torch.backends.cudnn.deterministic,
        lambda _: setattr(torch.backends.cudnn, "deterministic", True),
    ),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("name", CHANGES)
def test_it_is_put_back(name: str, tmp_path: Path) -> None:
    read, change = CHANGES[name]
    before = read()
    with restored_process_state():
        change(tmp_path)
        assert read() != before, "it was changed"
    assert read() == before


def test_a_folder_that_is_gone_is_gone_back_from(tmp_path: Path) -> None:
    before = Path.cwd()
    (tmp_path / "mine").mkdir()
    with restored_process_state():
        os.chdir(tmp_path / "mine")
        (tmp_path / "mine").rmdir()
    assert Path.cwd() == before


def test_a_folder_that_may_not_be_read_is_gone_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.chmod(0o311)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            list(Path().iterdir())
        with restored_process_state():
            os.chdir("/")
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
    assert Path().samefile(folder)


def test_it_is_put_back_after_an_exception_too() -> None:
    before = torch.get_default_dtype()
    with suppress(ValueError), restored_process_state():
        torch.set_default_dtype(torch.float64)
        raise ValueError("enough")
    assert torch.get_default_dtype() == before


def test_no_descriptor_is_left_open() -> None:
    def count() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = count()
    for _ in range(5):
        with restored_process_state():
            pass
    assert count() == before


def test_closed_standard_output_can_be_printed_to_again(capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        before = sys.stdout
        sys.stdout = os.fdopen(os.dup(1), "w")
        try:
            with restored_process_state():
                sys.stdout.close()
                os.close(1)
            assert os.fstat(1)
            assert not sys.stdout.closed
            sys.stdout.flush()
        finally:
            sys.stdout = before
