"""AdamW: fused where that is safe; schedules are torch's own."""

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.optimizer import make_adamw, schedule_factor


def test_the_fused_step_equals_the_plain_one() -> None:
    """The fused kernel is only an optimisation: the same numbers in float64."""

    def trained(fused: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Linear(3, 2).double()
        if not fused:  # a parameter that is not contiguous takes the plain way
            model.weight = nn.Parameter(model.weight.detach().t().contiguous().t())
        optimizer = make_adamw(model, 0.1, 0.1)
        assert bool(optimizer.defaults["fused"]) is fused
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.ones(4, 3, dtype=torch.float64)).square().sum().backward()
            optimizer.step()
        return [parameter.detach() for parameter in model.parameters()]

    for fused, plain in zip(trained(True), trained(False), strict=True):
        torch.testing.assert_close(fused, plain)


def test_a_model_without_parameters_cannot_be_trained() -> None:
    with pytest.raises(ModelError, match="no parameter to train"):
        make_adamw(nn.Identity(), 0.1)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10, 333])
@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_a_schedule_is_torchs_own(schedule: str, total: int) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler: torch.optim.lr_scheduler.LRScheduler
    if schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    else:
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.5, total_steps=total, cycle_momentum=False
        )
    for step in range(total):
        rate = 0.5 * schedule_factor(schedule, step, total)  # type: ignore[arg-type]
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        optimizer.step()
        if step + 1 < total:
            scheduler.step()


def test_a_constant_schedule_changes_nothing_and_none_goes_on_beyond_its_end() -> None:
    assert [schedule_factor("constant", step, 5) for step in (0, 4, 9)] == [1.0, 1.0, 1.0]
    for schedule in ("cosine", "one-cycle"):
        beyond = schedule_factor(schedule, 500, 20)  # type: ignore[arg-type]
        assert 0 <= beyond <= schedule_factor(schedule, 19, 20)  # type: ignore[arg-type]
