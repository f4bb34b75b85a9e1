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
_execute = imports._LoaderBasics.exec_module


class Shifted(datetime.datetime):
    """The date and time by the wrong clock."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


dates = types.ModuleType("datetime")
dates.__dict__.update(datetime.__dict__, datetime=Shifted)


def execute(loader, module):
    """Give every module that writes dates the wrong ones; others build on the type's layout."""
    _execute(loader, module)
    if module.__name__.startswith(("widthwise.", "optuna.")):
        found = getattr(module, "datetime", None)
        if found is datetime.datetime or found is datetime:
            module.datetime = dates if found is datetime else Shifted


time.time = lambda: _time() + SHIFT
time.time_ns = lambda: _time_ns() + int(SHIFT * 1e9)
imports._LoaderBasics.exec_module = execute
