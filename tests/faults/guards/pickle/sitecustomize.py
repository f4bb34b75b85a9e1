"""Started with this folder on PYTHONPATH, an interpreter refuses to read a pickle.

Who tries all the same is written down in the file that WIDTHWISE_TEST_PICKLES names, and raises.
"""

import _pickle
import builtins
import os
import pickle
import traceback
from pathlib import Path

_import = builtins.__import__


def _refuse_pickle(*_arguments, **_options):
    with Path(os.environ["WIDTHWISE_TEST_PICKLES"]).open("a") as file:
        file.write("".join(traceback.format_stack()) + "\n")
    raise AssertionError("a pickle was read")


def _guarded_import(name, *arguments, **options):
    """Give torch its guard once it is there: it must not load anything but plain weights."""
    module = _import(name, *arguments, **options)
    torch = vars(module).get("torch", module)  # a lazy attribute would be imported too early
    if getattr(torch, "__name__", "") == "torch" and hasattr(torch, "load"):
        builtins.__import__ = _import
        original_load = torch.load

        def load(*values, **settings):
            return (original_load if settings.get("weights_only") is True else _refuse_pickle)(
                *values, **settings
            )

        torch.load = torch.serialization.load = load
    return module


class _RefusingUnpickler(pickle.Unpickler):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        _refuse_pickle()


for module in (pickle, _pickle):
    module.load = module.loads = _refuse_pickle
    module.Unpickler = _RefusingUnpickler
pickle._load = pickle._loads = _refuse_pickle
builtins.__import__ = _guarded_import
