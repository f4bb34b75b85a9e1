"""Search widths: `widthwise.search(build=…, widths=…, data=…, limits=…, trials=…)` is one call.

This package is the story, and it can be called: the call is `python.search.search`, which searches,
confirms, and returns a result with `.widths`, `.table`, `.report`, `.verdict` and `.model()`.
"""

import inspect
import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from .python.search import search

        return search(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        from .python.search import search

        return inspect.signature(search)


sys.modules[__name__].__class__ = _CallableModule
