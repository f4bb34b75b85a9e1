"""Whether a model of other sizes works: built, run forward and backward, compared with expectation.

Each group is tried at half, at double and at an odd multiple of its divisor, all groups at once and
no two of them alike in every run, so that two sizes that must be equal and are not stand out. What
fails is looked for group by group. Nothing is allocated: tensors are fake.

Entry points: `find_failures`, `failure`, `trial_sizes`, `tensor_shapes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from ...errors import ObjectiveError, describe_error
from ...interrupt import raise_if_interrupt
from ...trace.fake_model import FakeCPU, fake_model, sequences_unpacked
from ...training.step import StepSpec, sum_of_output_means, tensors_in
from ...user_code import root_cause, user_code_location
from ..groups import DepthGroup, Discovery, WidthGroup
from .errors import ResizeError

Build = Callable[[Mapping[str, int]], nn.Module]
"""`(sizes of the groups and depths that change, by name) -> a fresh model`."""

_MANY_BLOCKS = 12

DRAWN = 0.5
"""What a single number in [0, 1) is that the model draws, and may branch on."""


def trial_sizes(choice: WidthGroup | DepthGroup) -> tuple[int, ...]:
    """Return half, double and an odd multiple of the divisor, as far as they are other sizes.

    Of many blocks: half, one, and one more, since each costs a forward and backward pass.
    """
    if isinstance(choice, DepthGroup) and choice.size > _MANY_BLOCKS:
        return choice.size // 2, 1, choice.size + 1
    steps = choice.size // choice.multiple_of
    odd = (steps + steps // 2) | 1
    if odd == steps:
        odd += 2
    return tuple(dict.fromkeys(choice.multiple_of * n for n in (steps // 2, 2 * steps, odd) if n))


def find_failures(build: Build, discovery: Discovery, step: StepSpec) -> dict[str, str]:
    """Return why groups cannot be resized, by the group's name; empty where all can.

    Args:
        build: Returns a fresh model of other sizes.
        discovery: What shapes it is expected to have.
        step: The example.
    """
    groups = discovery.choices
    today = _output_shapes(build, discovery, step, {}, backward=False)
    if isinstance(today, str):
        return {group.name: today for group in groups}

    def failure_of(sizes: Mapping[str, int]) -> str | None:
        return failure(build, discovery, step, sizes, today)

    if not any(failure_of(sizes) for sizes in _designs(groups)):
        return {}
    failures: dict[str, str] = {}
    for group in groups:
        for size in trial_sizes(group):
            if reason := failure_of({group.name: size}):
                failures[group.name] = f"resizing {group.name} to {size} fails: {reason}"
                break
    kept: list[WidthGroup | DepthGroup] = []
    for group in groups:
        if group.name not in failures:
            for sizes in _designs([*kept, group]):
                if reason := failure_of(sizes):
                    failures[group.name] = f"resizing it beside other widths fails: {reason}"
                    break
            else:
                kept.append(group)
    return failures


def failure(
    build: Build,
    discovery: Discovery,
    step: StepSpec,
    sizes: Mapping[str, int],
    outputs: Sequence[tuple[int, ...]] | None = None,
) -> str | None:
    """Return why a model of some sizes does not work, None where it does.

    Args:
        build: Returns it.
        discovery: What shapes it is expected to have.
        step: The example.
        sizes: By the name of the group or depth.
        outputs: Shapes that its outputs must have; None for any.
    """
    result = _output_shapes(build, discovery, step, sizes)
    if isinstance(result, str):
        return result
    if outputs is not None and result != list(outputs):
        return f"the output has the shapes {_words(result)} instead of {_words(outputs)}"
    return None


def _designs(groups: Sequence[WidthGroup | DepthGroup]) -> Iterator[dict[str, int]]:
    """Yield sizes for all groups: each at all of its trial sizes, and no two alike throughout."""
    rows = next(
        rows
        for runs in itertools.count(3)
        for rows in ([row for row in itertools.product(range(3), repeat=runs) if len({*row}) == 3],)
        if len(rows) >= len(groups)
    )
    trials = [trial_sizes(group) for group in groups]
    for run in range(len(rows[0])):
        yield {
            group.name: sizes[rows[number][run] % len(sizes)]
            for number, (group, sizes) in enumerate(zip(groups, trials, strict=True))
        }


def _output_shapes(
    build: Build,
    discovery: Discovery,
    step: StepSpec,
    sizes: Mapping[str, int],
    *,
    backward: bool = True,
) -> list[tuple[int, ...]] | str:
    """Return the shapes of what a model of some sizes gives, or why it does not work."""
    mode = FakeCPU()
    mode.draw_number = lambda: DRAWN
    try:
        with (
            fake_model(lambda: build(sizes), step, mode) as (model, _),
            mode,
            sequences_unpacked(),
        ):
            _check_shapes(model, discovery, sizes)
            output = step.empty().call(model)
            loss = sum_of_output_means(output)
            if backward and loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            # What follows the first are hidden states and caches, whose sizes may be the widths.
            return [tuple(tensor.shape) for tensor in tensors_in(output)][:1]
    except BaseException as error:
        raise_if_interrupt(error)
        return _reason(error)


def _check_shapes(model: nn.Module, discovery: Discovery, sizes: Mapping[str, int]) -> None:
    """Check that a model has the parameters and buffers that are expected at its sizes.

    Raises:
        ResizeError: It has others.
    """
    expected, actual = discovery.shapes(sizes), tensor_shapes(model)
    for name in (*expected, *actual):
        if expected.get(name) != actual.get(name):
            raise ResizeError(
                f"{name} has the shape {actual.get(name)} where {expected.get(name)} was expected"
            )


def tensor_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer, tied ones under each of their names."""
    named: list[tuple[str, Any]] = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name: tuple(tensor.shape) for name, tensor in named}


def _reason(error: BaseException) -> str:
    """Return what went wrong, as part of a sentence."""
    cause = root_cause(error)
    if isinstance(cause, ResizeError):
        return str(cause)
    location = user_code_location(cause)
    if isinstance(cause, ObjectiveError):
        return f"{cause}".rstrip(".") + location
    return f"{describe_error(cause)}{location}"


def _words(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
