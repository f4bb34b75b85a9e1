"""Which GPU each worker of a fleet on this machine trains on.

A worker whose study says `cuda` takes the first GPU that it sees. So each worker is shown one, in
turn; more workers than GPUs share them. What CUDA_VISIBLE_DEVICES shows to this process is all
that is handed on, whatever it names: numbers, UUIDs or parts of a GPU.

Entry point: `assign_gpus`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"


def count_gpus() -> int:
    """Return how many GPUs this process sees."""
    import torch  # only who trains on GPUs waits for it

    return torch.cuda.device_count()


def assign_gpus(
    device: str, worker_count: int, environment: Mapping[str, str], count: Callable[[], int]
) -> list[str | None]:
    """Return the GPU of each worker, as CUDA_VISIBLE_DEVICES names it; None for what all see.

    Args:
        device: What the workers train on, "cuda" or another; one with a number is for all.
        worker_count: How many there are.
        environment: Of this process.
        count: Returns how many GPUs there are; called where no variable says it.
    """
    if device != "cuda":
        return [None] * worker_count
    visible = environment.get(VISIBLE_VARIABLE)
    if visible is None:
        gpus = [str(index) for index in range(count())]
    else:
        gpus = [name.strip() for name in visible.split(",")]
        # CUDA itself ends the list at the first name that is none.
        end = next((i for i, name in enumerate(gpus) if name in ("", "-1")), len(gpus))
        gpus = gpus[:end]
    if len(gpus) < 2:
        return [None] * worker_count
    return [gpus[index % len(gpus)] for index in range(worker_count)]


def describe_assignment(gpus: list[str | None]) -> str | None:
    """Return which workers share which GPU, in a line; None where there is no choice."""
    workers_by_gpu: dict[str, list[int]] = {}
    for worker, gpu in enumerate(gpus, start=1):
        if gpu is not None:
            workers_by_gpu.setdefault(gpu, []).append(worker)
    if not workers_by_gpu:
        return None
    parts = [
        f"GPU {gpu}: worker{'s' if len(workers) > 1 else ''} {', '.join(map(str, workers))}"
        for gpu, workers in workers_by_gpu.items()
    ]
    return "; ".join(parts)
