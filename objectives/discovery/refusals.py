"""Models that cannot be analysed, and what to hand in instead: a sentence each.

Entry points: `require_maker`, `require_sizes`, `require_analysable`, `maker_error`,
`example_error`.
"""

from __future__ import annotations

import inspect
import re

import torch
from torch import nn

from ..errors import ModelError, describe_error, describe_type, describe_value
from ..model.lazy import has_lazy_layers
from ..user_code import root_cause, user_code_location

_CUDA = re.compile(r"cuda|nvidia|\bgpu", re.IGNORECASE)


def require_maker(make_model: object) -> None:
    """Raise unless something can be called without arguments.

    Raises:
        ModelError: It cannot.
    """
    if not callable(make_model):
        raise ModelError(
            f"the model is {describe_value(make_model)}: give a torch.nn.Module, or a function "
            "without arguments that returns one."
        )
    try:
        parameters = inspect.signature(make_model).parameters.values()
    except (TypeError, ValueError):  # a function in C, which has no signature
        return
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]
    if missing:
        name = getattr(make_model, "__name__", "the function")
        raise ModelError(
            f"{name} needs the arguments {', '.join(missing)}: give a function without arguments "
            f"that returns the model as it is today, such as def make_model(): return {name}(…)."
        )


def require_sizes(model: nn.Module) -> None:
    """Raise where a layer of a model that exists has no sizes yet.

    Raises:
        ModelError: It has lazy layers that were never called.
    """
    if has_lazy_layers(model):
        raise ModelError(
            "the model has lazy layers, which have no sizes before the first call: call it once "
            "with a batch, or give a function that makes it."
        )


def require_analysable(model: nn.Module) -> None:
    """Raise where the layers of a model are no longer what they were written as.

    Raises:
        ModelError: It is compiled, scripted or quantised.
    """
    for path, module in model.named_modules():
        where = f"its layer '{path}'" if path else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{where} is scripted (torch.jit): hand in the module that it was made from."
            )
        compiled = getattr(module, "_compiled_call_impl", None) is not None
        if compiled or type(module).__name__ == "OptimizedModule":
            raise ModelError(
                f"{where} is compiled (torch.compile): hand in the module that it was made from, "
                "and compile what is built of the widths."
            )
        if ".quantized" in type(module).__module__:
            raise ModelError(
                f"{where} is quantised ({describe_type(module)}): hand in the model in floating "
                "point, and quantise what is built of the widths."
            )


def maker_error(make_model: object, error: ModelError) -> ModelError:
    """Return the sentence for a function that made no model.

    Args:
        make_model: The function.
        error: What building raised; it was caused by what the function raised, if it did.
    """
    name = getattr(make_model, "__name__", "the function that makes the model")
    cause = error.__cause__
    if cause is None:
        return error
    advice = "it must return the model as it is today"
    if _asks_for_cuda(root_cause(cause)):
        advice = "build the model on the CPU: nothing is trained here"
    return ModelError(
        f"{name} raised {describe_error(root_cause(cause))}{user_code_location(cause)}; {advice}."
    )


def example_error(error: BaseException) -> ModelError:
    """Return the sentence for a model that cannot be called with the example."""
    advice = (
        "give the shape of one sample without the batch, for each argument of forward, as 3x32x32 "
        "or 128:int64"
    )
    if _asks_for_cuda(root_cause(error)):
        advice = "let forward use the device that its inputs are on"
    return ModelError(
        f"the model cannot be called with this example: {describe_error(root_cause(error))}"
        f"{user_code_location(error)}; {advice}."
    )


def _asks_for_cuda(error: BaseException) -> bool:
    """Return whether an error is explained by a missing GPU."""
    return not torch.cuda.is_available() and bool(_CUDA.search(str(error)))
