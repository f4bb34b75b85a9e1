"""Costs module by module: which part of a model holds its parameters and does its work.

Entry points: `count_modules`, `ModuleCosts`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..errors import CostError, describe_error
from ..trace.cuda_kernels import kernels_in_force
from ..trace.fake_model import FakeCPU, ModelFactory, fake_model
from ..trace.flops import FORMULAS, fused_encoder_disabled
from ..trace.trace import isolated_torch_state, silence_fake_tensor_warnings
from ..training.step import StepSpec, autocast_context, tensors_in
from ..user_code import user_code_location, user_errors
from .registry import macs_per_sample


@dataclass(frozen=True, kw_only=True)
class ModuleCosts:
    """What one module costs, its children included.

    Attributes:
        name: Its path in the model; empty for the model itself.
        kind: Its class.
        parameters: Elements of its parameters; tied ones count in each module that holds them.
        macs: Multiply-adds of one forward pass, per sample, rounded up.
        output_bytes: Bytes of what it returns for a batch, over all of its calls; 0 if it is not
            called as a module.
        leaf: Whether it has no children.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    output_bytes: int
    leaf: bool


def count_modules(build: ModelFactory, step: StepSpec) -> list[ModuleCosts]:
    """Count a candidate module by module, in the order they stand in the model.

    Args:
        build: Returns a fresh model; called under fake tensors.
        step: The example batch.

    Raises:
        ModelError: The builder raised, or returned no module.
        CostError: The model does not run on tensors without values.
    """
    mode = FakeCPU()
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    sizes: dict[nn.Module, int] = {}

    def record_output(module: nn.Module, _inputs: Any, output: Any) -> None:
        nbytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(output))
        sizes[module] = sizes.get(module, 0) + nbytes

    with (
        silence_fake_tensor_warnings(),
        isolated_torch_state(),
        fused_encoder_disabled(),
        kernels_in_force(step),
        fake_model(build, step, mode) as (model, _),
        mode,
    ):
        hooks = [module.register_forward_hook(record_output) for module in model.modules()]
        batch = step.empty()
        model.eval()
        with (
            user_errors(_forward_error),
            torch.no_grad(),
            counter,
            autocast_context(step.autocast, batch),
        ):
            batch.call(model)
        for hook in hooks:
            hook.remove()
        flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
        root = type(model).__name__
        return [
            ModuleCosts(
                name=name,
                kind=type(module).__name__,
                parameters=sum(parameter.numel() for parameter in module.parameters()),
                macs=macs_per_sample(flops.get(f"{root}.{name}" if name else "Global", 0), step),
                output_bytes=sizes.get(module, 0),
                leaf=not any(True for _ in module.children()),
            )
            for name, module in model.named_modules()
        ]


def _forward_error(error: BaseException) -> CostError:
    return CostError(
        f"one forward pass on tensors without values raised {describe_error(error)}"
        f"{user_code_location(error)}: the modules of this model cannot be counted one by one."
    )
