"""AdamW: fused where that is safe."""

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.optimizer import make_adamw


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
