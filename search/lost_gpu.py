"""A lost GPU: once a kernel failed, every later call of its process fails too, whatever it is for.

Only another process can go on. Memory that ran out is no such failure.

Entry point: `refuse_lost_gpu`.
"""

from __future__ import annotations

import torch

from ..objectives.out_of_memory import is_out_of_memory
from .child import ChildDied


def refuse_lost_gpu(result: object) -> None:
    """Nothing, unless what came of a training is a failed kernel's error.

    Raises:
        ChildDied: It is: this process is of no more use.
    """
    if isinstance(result, torch.AcceleratorError) and not is_out_of_memory(result):
        raise ChildDied(f"its process lost the GPU: {result}", out_of_memory=False)
