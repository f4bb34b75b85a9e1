"""Other counters, each as a function of a model and its input; imported only when called.

Only the benchmark needs them: one that is not installed is reported as such. FLOPs are
compared as MACs, which all five call by one name or another.

Entry points: `TOOLS`, `ToolCounts`, `count_with_tool`.
"""

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class ToolCounts:
    """What a tool says of one model; `problem` says why it says nothing."""

    parameters: int | None = None
    macs: int | None = None
    problem: str | None = None


def fvcore(model: nn.Module, inputs: Tensor) -> ToolCounts:
    """Ask fvcore; its "flops" are MACs."""
    from fvcore.nn import FlopCountAnalysis, parameter_count

    analysis = FlopCountAnalysis(model, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return ToolCounts(parameters=parameter_count(model)[""], macs=int(analysis.total()))


def thop(model: nn.Module, inputs: Tensor) -> ToolCounts:
    """Ask thop."""
    from thop import profile

    macs, parameters = profile(model, inputs=(inputs,), verbose=False)
    return ToolCounts(parameters=int(parameters), macs=int(macs))


def ptflops(model: nn.Module, inputs: Tensor) -> ToolCounts:
    """Ask ptflops, which answers None where its run fails."""
    from ptflops import get_model_complexity_info

    name = next(iter(inspect.signature(model.forward).parameters))
    macs, parameters = get_model_complexity_info(
        model,
        tuple(inputs.shape[1:]),
        as_strings=False,
        print_per_layer_stat=False,
        verbose=False,
        input_constructor=lambda _: {name: inputs},
    )
    if macs is None:
        return ToolCounts(problem="fails")
    return ToolCounts(parameters=int(parameters), macs=int(macs))


def torchinfo(model: nn.Module, inputs: Tensor) -> ToolCounts:
    """Ask torchinfo."""
    from torchinfo import summary

    model_summary = summary(model, input_data=inputs, verbose=0)
    return ToolCounts(
        parameters=int(model_summary.total_params), macs=int(model_summary.total_mult_adds)
    )


def calflops(model: nn.Module, inputs: Tensor) -> ToolCounts:
    """Ask calflops."""
    from calflops import calculate_flops

    _, macs, parameters = calculate_flops(
        model=model,
        args=[inputs],
        output_as_string=False,
        print_results=False,
        print_detailed=False,
    )
    return ToolCounts(parameters=int(parameters), macs=int(macs))


TOOLS: dict[str, Callable[[nn.Module, Tensor], ToolCounts]] = {
    "fvcore": fvcore,
    "thop": thop,
    "ptflops": ptflops,
    "torchinfo": torchinfo,
    "calflops": calflops,
}


def count_with_tool(tool: str, build: Callable[[], nn.Module], inputs: Tensor) -> ToolCounts:
    """Return a tool's answer about a fresh model, or why there is none."""
    torch.manual_seed(0)
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            return TOOLS[tool](build().eval(), inputs)
    except ModuleNotFoundError as error:
        return ToolCounts(problem=f"not installed ({error.name})")
    except Exception as error:
        return ToolCounts(problem=f"fails ({type(error).__name__})")
    finally:
        logging.disable(logging.NOTSET)
