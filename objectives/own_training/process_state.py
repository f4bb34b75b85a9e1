"""The state of this process that a training may change and has to leave as it was.

A training of the user's own is a program: it changes the folder, the environment, torch's default
type, signal handlers, filters of warnings. The next trial must not notice. What a list can name is
put back; a process for each training would do so, too, but costs the import of torch and of the
model's libraries each time (docs/decisions/0030).

Entry point: `restored_process_state`.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

_log = logging.getLogger(__name__)

State = tuple[str, Callable[[], Any], Callable[[Any], object]]
"""What it is, for people; what reads it, and what sets it to what was read."""


class _NoWarning(Warning):
    """A warning that nobody gives."""


def _working_folder() -> int:
    # By its descriptor: it may be renamed or deleted meanwhile. As a path where the system knows
    # that: to go back asks for no right to read the folder, and then neither does this.
    return os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)


def _go_back(descriptor: int) -> None:
    os.fchdir(descriptor)
    os.close(descriptor)


def _restore_environment(environment: dict[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _signal_handlers() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread can set them
    return {signum: signal.getsignal(signum) for signum in signal.valid_signals()}


def _restore_signal_handlers(handlers: dict[int, Any]) -> None:
    for signum, handler in handlers.items():
        # None: set by another language, and cannot be set from here.
        if handler is not None and signal.getsignal(signum) is not handler:
            signal.signal(signum, handler)


def _signal_mask() -> set[Any]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _restore_signal_mask(mask: set[Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _timers() -> dict[int, tuple[float, float]]:
    return {timer: signal.getitimer(timer) for timer in _TIMERS}


def _restore_timers(timers: dict[int, tuple[float, float]]) -> None:
    # An alarm that is still to come, as of `signal.alarm`, would end the next trial.
    for timer, (delay, interval) in timers.items():
        if (delay, interval) == (0, 0):
            signal.setitimer(timer, 0)


def _umask() -> int:
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    return mask


_STANDARD_DESCRIPTORS = (0, 1, 2)


def _standard_descriptors() -> dict[int, int]:
    copies = {}
    for descriptor in _STANDARD_DESCRIPTORS:
        with suppress(OSError):  # closed
            # Above the standard ones: a copy is none of those.
            copies[descriptor] = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    return copies


def _restore_standard_descriptors(copies: dict[int, int]) -> None:
    # Closed ones would be given to the next files that are opened, and prints would go into these.
    for descriptor, copy in copies.items():
        os.dup2(copy, descriptor)
        os.close(copy)


def _restore_sys_path(entries: list[str]) -> None:
    sys.path[:] = entries


def _logging_state() -> tuple[int, list[Any], dict[logging.Logger, tuple[int, bool, bool]]]:
    root = logging.getLogger()
    known = [*root.manager.loggerDict.values(), root]
    loggers = [logger for logger in known if isinstance(logger, logging.Logger)]
    return (
        root.manager.disable,
        [list(root.handlers), list(root.filters)],
        {logger: (logger.level, logger.disabled, logger.propagate) for logger in loggers},
    )


def _restore_logging(
    state: tuple[int, list[Any], dict[logging.Logger, tuple[int, bool, bool]]],
) -> None:
    root = logging.getLogger()
    disabled, (root.handlers[:], root.filters[:]), loggers = state
    for logger, (level, is_disabled, propagates) in loggers.items():
        logger.disabled, logger.propagate = is_disabled, propagates
        if logger.level != level:
            logger.setLevel(level)
    logging.disable(disabled)


def _restore_warnings(state: tuple[list[Any], Any]) -> None:
    warnings.filters[:], warnings.showwarning = state  # type: ignore[index]
    # What was remembered as "shown once" goes by the version of the filters, which this counts on.
    warnings.filterwarnings("default", category=_NoWarning)
    warnings.filters.pop(0)  # type: ignore[attr-defined]


def _streams() -> tuple[Any, Any, Any]:
    return sys.stdin, sys.stdout, sys.stderr


def _restore_streams(streams: tuple[Any, Any, Any]) -> None:
    sys.stdin, sys.stdout, sys.stderr = (
        # A closed one cannot be used again; its descriptor was put back.
        open(descriptor, mode, closefd=False)  # noqa: SIM115
        if stream is not None and stream.closed
        else stream
        for descriptor, mode, stream in zip(
            _STANDARD_DESCRIPTORS, ("r", "w", "w"), streams, strict=True
        )
    )


def _torch_backends() -> dict[str, Any]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic,
        "enabled": cudnn.enabled,
        "reduced": matmul.allow_fp16_reduced_precision_reduction,
    }


def _restore_torch_backends(state: dict[str, Any]) -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.benchmark, cudnn.deterministic = state["benchmark"], state["deterministic"]
    cudnn.enabled = state["enabled"]
    matmul.allow_fp16_reduced_precision_reduction = state["reduced"]


def _autocast() -> dict[str, tuple[bool, torch.dtype]]:
    return {
        kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        for kind in ("cpu", "cuda")
    }


def _restore_autocast(state: dict[str, tuple[bool, torch.dtype]]) -> None:
    for kind, (enabled, dtype) in state.items():
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _default_device() -> Any:
    return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)


def _restore_default_device(context: Any) -> None:
    if _default_device() is not context:
        torch.set_default_device(None if context is None else context.device)


_STATES: tuple[State, ...] = (
    ("timers", _timers, _restore_timers),
    ("the standard descriptors", _standard_descriptors, _restore_standard_descriptors),
    ("the standard streams", _streams, _restore_streams),
    ("the working folder", _working_folder, _go_back),
    ("the environment", lambda: dict(os.environ), _restore_environment),
    ("the mask of new files", _umask, os.umask),
    ("blocked signals", _signal_mask, _restore_signal_mask),
    ("handlers of signals", _signal_handlers, _restore_signal_handlers),
    ("sys.path", lambda: list(sys.path), _restore_sys_path),
    ("sys.argv", lambda: list(sys.argv), lambda arguments: setattr(sys, "argv", arguments)),
    ("sys.excepthook", lambda: sys.excepthook, lambda hook: setattr(sys, "excepthook", hook)),
    ("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("logging", _logging_state, _restore_logging),
    (
        "filters of warnings",
        lambda: (list(warnings.filters), warnings.showwarning),
        _restore_warnings,
    ),
    (
        "the garbage collector",
        gc.isenabled,
        lambda enabled: gc.enable() if enabled else gc.disable(),
    ),
    ("the sockets' timeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
    ("numpy's handling of errors", np.geterr, lambda kinds: np.seterr(**kinds)),
    ("torch's default device", _default_device, _restore_default_device),
    ("torch's default type", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's threads", torch.get_num_threads, torch.set_num_threads),
    ("torch's gradients", torch.is_grad_enabled, torch._C._set_grad_enabled),
    (
        "torch's search for anomalies",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda state: torch.autograd.set_detect_anomaly(*state),
    ),
    (
        "torch's deterministic mode",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda state: torch.use_deterministic_algorithms(state[0], warn_only=state[1]),
    ),
    (
        "torch's precision of products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    ("torch's autocast", _autocast, _restore_autocast),
    ("torch's backends", _torch_backends, _restore_torch_backends),
)


@contextmanager
def restored_process_state() -> Iterator[None]:
    """Put back at the end what the block has changed of this process."""
    before = [(name, restore, read()) for name, read, restore in _STATES]
    try:
        yield
    finally:
        for name, restore, state in before:
            try:
                restore(state)
            except Exception as error:
                _log.warning("%s cannot be put back as before the training: %s", name, error)
