"""Growth: a planted bottleneck is found; what cannot be judged is said, and nothing is changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.errors import ModelError
from widthwise.objectives.growth.growth import ModelGrowth, measure_growth
from widthwise.objectives.growth.samples import Samples

from .planted import FEATURES, OUTPUTS, perceptron, squared_error, teacher_rows, trained


def planted_growth(seed: int, widths: list[int]) -> ModelGrowth:
    training, held_out = teacher_rows(seed, rows=3000)
    model = trained(perceptron(widths), training, steps=250)
    return measure_growth(model, training=training, held_out=held_out, loss=squared_error)


@pytest.mark.slow
def test_a_planted_bottleneck_is_named_in_19_of_20_seeds() -> None:
    """The narrow layer is the first, the second or the third, by turns."""
    named = []
    for seed in range(20):
        widths = [32, 32, 32]
        widths[seed % 3] = 2
        bottleneck = planted_growth(seed, widths).bottleneck
        named.append(bottleneck is not None and bottleneck.number == seed % 3 + 1)
    assert sum(named) >= 19, named


def test_the_student_gains_from_what_its_teacher_has() -> None:
    """A teacher of 12 neurons: a student of 3 gains from one more, a student of 48 hardly does."""
    torch.manual_seed(0)
    teacher, inputs = perceptron([12], nn.Tanh), torch.randn(2000, FEATURES)
    teacher[0].weight.data *= 4  # type: ignore[operator]
    teacher[2].weight.data *= 4  # type: ignore[operator]
    rows = Samples(inputs=[inputs], targets=teacher(inputs).detach())
    training, held_out = rows.select(slice(0, 1000)), rows.select(slice(1000, None))
    shares = []
    for width in (3, 48):
        student = trained(perceptron([width], nn.Tanh), training, steps=1000)
        growth = measure_growth(student, training=training, held_out=held_out, loss=squared_error)
        assert growth.constant_loss is not None
        gain = growth.layers[0].gain
        assert gain is not None
        shares.append(gain.mean / growth.constant_loss)
        if width == 3:
            assert growth.bottleneck is growth.layers[0]
            assert gain.low > 0
    assert shares[0] > 0.005
    assert shares[1] < shares[0] / 5


def test_an_untrained_model_has_no_bottleneck() -> None:
    training, held_out = teacher_rows(0)
    torch.manual_seed(0)
    growth = measure_growth(
        perceptron([16, 2, 16]), training=training, held_out=held_out, loss=squared_error
    )
    assert not growth.trained
    assert growth.bottleneck is None
    assert growth.constant_loss == pytest.approx(float(held_out.targets.var(0).mean()), rel=0.1)


def test_the_model_stays_as_it_is() -> None:
    training, held_out = teacher_rows(0, rows=400)
    model = trained(perceptron([6, 6]), training, steps=20)
    model[0].weight.requires_grad_(False)  # type: ignore[index]
    before = copy.deepcopy(model.state_dict())
    measure_growth(model, training=training, held_out=held_out, loss=squared_error)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    parameters = list(model.parameters())
    assert [parameter.requires_grad for parameter in parameters] == [False] + [True] * 5
    assert all(parameter.grad is None for parameter in parameters)
    assert not any(module._forward_hooks for module in model.modules())


def test_the_same_seed_gives_the_same_numbers() -> None:
    training, held_out = teacher_rows(0, rows=400)
    model = trained(perceptron([6, 6]), training, steps=50)
    first, second = (
        measure_growth(model, training=training, held_out=held_out, loss=squared_error)
        for _ in range(2)
    )
    assert first == second


def test_a_loss_of_unknown_kind_leaves_the_constant_out() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = perceptron([6, 6])

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            output = self.body(x)
            return output, output.square()

    def loss(output: object, targets: Tensor) -> Tensor:
        assert isinstance(output, tuple)
        return squared_error(output[0], targets)

    training, held_out = teacher_rows(0, rows=400)
    growth = measure_growth(Pair(), training=training, held_out=held_out, loss=loss)
    assert growth.constant_loss is None
    assert growth.trained
    assert growth.layers[0].first_order is not None


class Masked(nn.Module):
    """Tokens and a mask through an encoder layer and an LSTM, each with what cannot grow alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 4, batch_first=True)
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.hidden = nn.Linear(6, 5)
        self.out = nn.Linear(5, 3)

    def forward(self, ids: Tensor, *, mask: Tensor) -> Tensor:
        encoded = self.encoder(self.embedding(ids), src_key_padding_mask=mask)
        states, _ = self.lstm(encoded)
        output: Tensor = self.out(self.hidden(states[:, -1]).relu())
        return output


def test_several_inputs_masks_attention_and_recurrence() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (300, 7))
    mask = torch.zeros(300, 7, dtype=torch.bool)
    mask[:, 5:] = True
    samples = Samples(inputs=[ids], named={"mask": mask}, targets=(ids == 3).sum(1).clamp(max=2))
    growth = measure_growth(
        Masked(),
        training=samples.select(slice(0, 200)),
        held_out=samples.select(slice(200, None)),
        loss=nn.functional.cross_entropy,
    )
    by_name = {layer.layer: layer for layer in growth.layers}
    assert by_name["encoder.linear1"].first_order is not None
    assert by_name["hidden"].first_order is not None
    for name in ("encoder.self_attn", "lstm", "encoder.linear2", "out"):
        assert by_name[name].first_order is None
        assert by_name[name].reason
    rank = by_name["lstm"].rank
    assert rank is not None
    assert rank.dimensions == 6


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.Sequential(nn.Flatten()), "calls no Linear"),
        (nn.Linear(FEATURES + 1, OUTPUTS), "make it take the rows"),
    ],
    ids=["no layer", "other inputs"],
)
def test_what_is_wrong_with_a_model(model: nn.Module, sentence: str) -> None:
    training, held_out = teacher_rows(0, rows=200)
    with pytest.raises(ModelError) as refused:
        measure_growth(model, training=training, held_out=held_out, loss=squared_error)
    assert sentence in str(refused.value)


def test_random_numbers_in_evaluation_are_refused() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(FEATURES, OUTPUTS)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(self.layer(x))

    training, held_out = teacher_rows(0, rows=200)
    with pytest.raises(ModelError, match=r"training=self\.training"):
        measure_growth(Noisy(), training=training, held_out=held_out, loss=squared_error)


def test_a_diverged_model_is_refused() -> None:
    training, held_out = teacher_rows(0, rows=200)
    model = perceptron([4, 4])
    next(model.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        measure_growth(model, training=training, held_out=held_out, loss=squared_error)
