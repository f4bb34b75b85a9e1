"""Recording a step, removing what is not needed, and calling the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from widthwise.objectives.engines.replay.codegen import ReplayProgram, compile_tape
from widthwise.objectives.engines.replay.operators import fastest_callable, pack_scalars
from widthwise.objectives.engines.replay.optimize import optimise
from widthwise.objectives.engines.replay.tape import Recorder, Tape

Step = Callable[[Tensor, Tensor], Tensor]


def record_step(step: Step, *inputs: Tensor) -> Tape:
    with Recorder(inputs) as recorder:
        loss = step(*inputs)
    tape = recorder.finish(loss)
    assert recorder.unsupported_reason is None
    return tape


def replay(program: ReplayProgram, *inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        return program.run(*inputs)


def random_pair(rows: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 3), torch.randn(rows, 2)


def operators(tape: Tape) -> list[str]:
    return [call.operator._schema.name.partition("::")[2] for call in optimise(tape).calls]


def test_recording_changes_nothing_and_captures_what_it_finds() -> None:
    torch.manual_seed(0)
    model, (x, y) = nn.Linear(3, 2), random_pair()
    tape = record_step(lambda x, y: functional.mse_loss(model(x), y), x, y)
    assert {id(value) for value in tape.captured.values()} == {
        id(value) for value in model.parameters()
    }
    other = random_pair()
    expected = functional.mse_loss(model(other[0]), other[1])
    assert torch.equal(replay(compile_tape(tape), *other), expected)


def test_an_optimised_training_step_has_only_its_arithmetic() -> None:
    model, (x, y) = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), random_pair()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    step(x, y)
    assert operators(record_step(step, x, y)) == [
        *("addmm", "relu", "addmm", "mse_loss", "mse_loss_backward"),
        *("mm", "as_strided", "mm", "sum", "as_strided", "threshold_backward"),
        *("as_strided", "mm", "sum", "as_strided", "_foreach_add_", "_fused_adamw_"),
    ]


def test_a_view_of_views_becomes_one_view() -> None:
    def step(x: Tensor, y: Tensor) -> Tensor:
        tripled = (x * 3).view(-1).view(3, 2, -1).transpose(0, 1).flatten(1)[:, 1:]
        return (tripled * tripled.view(torch.int32).to(torch.float32)).sum() - y.sum()

    x, y = torch.randn(4, 3), torch.randn(4)
    tape = record_step(step, x, y)
    assert operators(tape) == [
        *("mul", "as_strided", "clone", "as_strided", "view", "_to_copy"),
        *("mul", "sum", "sum", "sub"),
    ]
    other = torch.randn(4, 3), torch.randn(4)
    assert torch.equal(replay(compile_tape(tape), *other), step(*other))


def test_what_depends_on_sizes_alone_is_made_once() -> None:
    def step(x: Tensor, y: Tensor) -> Tensor:
        indices = torch.arange(len(x), dtype=x.dtype).mul(2).view(-1, 1)
        return (x * indices + torch.ones_like(x)).sum() - y.sum()

    tape = record_step(step, *random_pair())
    assert operators(tape) == ["mul", "add", "sum", "sum", "sub"]
    other = random_pair()
    assert torch.equal(replay(compile_tape(tape), *other), step(*other))


def test_what_is_changed_in_place_is_made_anew_in_every_step() -> None:
    def step(x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros(3)
        total.view(3, 1).add_(x.sum(0).view(3, 1))
        return total.sum() + y.sum()

    program = compile_tape(record_step(step, *random_pair()))
    for _ in range(3):
        other = random_pair()
        assert torch.equal(replay(program, *other), step(*other))


def test_a_copy_that_is_changed_later_stays_a_copy() -> None:
    def step(x: Tensor, y: Tensor) -> Tensor:
        doubled = x * 2
        copy = doubled.new_empty_strided(doubled.shape, doubled.stride())
        copy.copy_(doubled)
        copy.add_(1)
        return (copy * doubled).sum() + y.sum()

    program = compile_tape(record_step(step, *random_pair()))
    other = random_pair()
    assert torch.equal(replay(program, *other), step(*other))


def test_state_in_place_is_kept_between_steps() -> None:
    states = [torch.zeros(3), torch.zeros(3)]

    def step(x: Tensor, y: Tensor, state: Tensor = states[0]) -> Tensor:
        state.mul_(0.5).add_(x.mean(0))
        return state.sum() + y.sum()

    first = random_pair()
    program = compile_tape(record_step(step, *first))
    step(*first, states[1])
    assert [id(tensor) for tensor in program.mutated] == [id(states[0])]
    for _ in range(3):
        other = random_pair()
        assert torch.equal(replay(program, *other), step(*other, states[1]))


def test_several_and_missing_results_are_told_apart() -> None:
    weight = torch.randn(4, 1, 3, 3, requires_grad=True)

    def step(x: Tensor, y: Tensor) -> Tensor:
        first, *_, last = torch.conv2d(x.view(-1, 1, 4, 4), weight).split(2)
        (gradient,) = torch.autograd.grad((first * last).sum(), weight)
        return gradient.sum() + y.sum()

    x, y = torch.randn(4, 16), torch.randn(2)
    program = compile_tape(record_step(step, x, y))
    other = torch.randn(4, 16), torch.randn(2)
    assert torch.equal(replay(program, *other), step(*other))


@pytest.mark.parametrize(
    "reading",
    [lambda x: x.sum().item(), lambda x: x[x > 0].sum(), lambda x: torch.unique(x).sum()],
    ids=["item", "mask", "unique"],
)
def test_reading_values_is_noticed(reading: Callable[[Tensor], Tensor | float]) -> None:
    with Recorder(random_pair()) as recorder:
        reading(torch.randn(5))
    assert recorder.unsupported_reason is not None
    assert "reads values" in recorder.unsupported_reason


def test_networks_of_one_structure_share_their_source() -> None:
    def text(width: int) -> str:
        model, (x, y) = nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2)), random_pair()
        return compile_tape(record_step(lambda x, y: functional.mse_loss(model(x), y), x, y)).source

    assert text(4) == text(9)


@settings(deadline=None, max_examples=60)
@given(
    channels=st.integers(1, 20),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_max_pooling_chooses_the_same(
    channels: int,
    size: tuple[int, int],
    kernel: int,
    stride: int,
    padding: int,
    seed: int,
    dtype: torch.dtype,
) -> None:
    """Ties, zeros of both signs and NaN included."""
    stream = torch.Generator().manual_seed(seed)
    images = torch.randint(-1, 2, (2, channels, *size), generator=stream).to(dtype)
    images *= torch.randint(0, 2, images.shape, generator=stream) * 2 - 1
    images[torch.rand(images.shape, generator=stream) < 0.05] = torch.nan
    kernel = min(kernel, *size)
    window = [kernel] * 2, [stride] * 2, [min(padding, kernel // 2)] * 2
    pool = torch.ops.aten.max_pool2d_with_indices.default
    with Recorder((images,)) as recorder:
        expected = pool(images, *window)
    tape = recorder.tape
    actual = fastest_callable(tape.calls[0], tape.geometry, {})(images, *window)
    for result, expected_result in zip(actual, expected, strict=True):
        bits = [tensor.reshape(-1).view(torch.uint8) for tensor in (result, expected_result)]
        assert torch.equal(*bits)


def counting(counters: list[Tensor]) -> Step:
    def step(x: Tensor, y: Tensor) -> Tensor:
        torch._foreach_add_(counters, 1)
        return x.sum() + y.sum()

    return step


def test_packed_counters_are_the_same_tensors() -> None:
    counters = [torch.tensor(float(number)) for number in (1, 1, 5)]
    kept = list(counters)
    pack_scalars(counters)
    torch._foreach_add_(counters, 1)
    assert [float(tensor) for tensor in kept] == [2, 2, 6]
    replay(compile_tape(record_step(counting(counters), *random_pair())), *random_pair())
    assert [float(tensor) for tensor in kept] == [4, 4, 8]


def test_counters_that_are_not_packed_are_counted_one_by_one() -> None:
    counters = [torch.tensor(1.0), torch.tensor(4.0)]
    replay(compile_tape(record_step(counting(counters), *random_pair())), *random_pair())
    assert [float(tensor) for tensor in counters] == [3, 6]
