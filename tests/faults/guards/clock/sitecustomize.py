"""Started with this folder on PYTHONPATH, an interpreter's clock is wrong from its first moment.

WIDTHWISE_TEST_CLOCK_SHIFT says by how many seconds. Clocks that only measure spans stay right.
"""

import datetime
import os
import time
import types
from importlib import _bootstrap_external as imports

SHIFT = float(os.environ["WIDTHWISE_TEST_CLOCK_SHIFT"])
_time, _time_ns = time.time, time.time_ns
_exec_module = imports._LoaderBasics.exec_module


class ShiftedDatetime(datetime.datetime):
    """The date and time by the wrong clock."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


shifted_datetime_module = types.ModuleType("datetime")
shifted_datetime_module.__dict__.update(datetime.__dict__, datetime=ShiftedDatetime)


def shifted_exec_module(loader, module):
    """Give every module that writes dates the wrong ones; others build on the type's layout."""
    _exec_module(loader, module)
    if module.__name__.startswith(("widthwise.", "optuna.")):
        original = getattr(module, "datetime", None)
        if original is datetime.datetime or original is datetime:
            module.datetime = shifted_datetime_module if original is datetime else ShiftedDatetime


time.time = lambda: _time() + SHIFT
time.time_ns = lambda: _time_ns() + int(SHIFT * 1e9)
imports._LoaderBasics.exec_module = shifted_exec_module
