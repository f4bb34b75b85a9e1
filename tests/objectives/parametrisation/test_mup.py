"""muP: its factors by hand, the sizes it leaves behind, and that it changes nothing at the base."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from widthwise.objectives.data.load import load_data
from widthwise.objectives.errors import ModelError
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.families.feedforward import build_mlp
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.parametrisation.mup import Mup, derive_mup
from widthwise.objectives.parametrisation.standard import StandardParametrisation
from widthwise.objectives.training.settings import ProxySettings

from .models import BASE, BUILDS, WIDENED, Widths, cnn, lstm, mlp

WIDE = {"a": 32, "b": 192}


def built(name: str, widths: Widths, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return BUILDS[name](widths)


def size(parameter: torch.Tensor) -> float:
    return float(parameter.detach().double().square().mean().sqrt())


@pytest.fixture(scope="module", params=BUILDS)
def derived_case(request: pytest.FixtureRequest) -> tuple[str, Mup]:
    return request.param, derive_mup(BUILDS[request.param], BASE, WIDENED)


def test_at_the_base_nothing_changes(derived_case: tuple[str, Mup]) -> None:
    name, mup = derived_case
    model = built(name, BASE)
    before = copy.deepcopy(model.state_dict())
    mup.initialise(model, BASE)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert set(mup.learning_rate_factors(BASE).values()) == {1.0}


def test_sizes_follow_the_table(derived_case: tuple[str, Mup]) -> None:
    """Root mean squares over seeds, at a candidate that init scaling was not measured at."""
    name, mup = derived_case
    pairs = []
    for seed in range(6):
        base, wide = built(name, BASE, seed), built(name, WIDE, seed)
        mup.initialise(wide, WIDE)
        pairs.append((dict(base.named_parameters()), dict(wide.named_parameters())))
    rates = mup.learning_rate_factors(WIDE)
    for key, rule in mup.rules.items():
        before, after = (sum(size(pair[k][key]) ** 2 for pair in pairs) ** 0.5 for k in (0, 1))
        if pairs[0][0][key].numel() < 64:
            continue  # too few numbers to tell their size by
        expected = {"hidden": rates[key] ** 0.5, "output": rates[key]}.get(rule.role, 1.0)
        assert after == pytest.approx(before * expected, rel=0.15), (key, rule)


def test_initialising_draws_no_random_number(derived_case: tuple[str, Mup]) -> None:
    name, mup = derived_case
    model = built(name, WIDE)
    state = torch.get_rng_state()
    mup.initialise(model, WIDE)
    assert mup.learning_rate_factors(WIDE)
    assert torch.equal(torch.get_rng_state(), state)


def test_deriving_leaves_the_random_streams_alone() -> None:
    def build(widths: Widths) -> nn.Module:
        return build_mlp(widths, input_shape=(20,), outputs=5, dropout=0.5)

    state = torch.get_rng_state()
    first, second = (derive_mup(build, BASE, WIDENED, inputs=torch.ones(2, 20)) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


def test_a_perceptron_by_hand() -> None:
    """20 → a → b → 5 from a = 8, b = 12 to a = 32, b = 192: fan-ins grow by 4 and by 16."""
    mup = derive_mup(mlp, BASE, WIDENED)
    assert mup.learning_rate_factors(WIDE) == {
        "1.weight": 1.0,
        "1.bias": 1.0,
        "3.weight": 1 / 4,
        "3.bias": 1.0,
        "5.weight": 1 / 16,
        "5.bias": 1.0,
    }
    model, plain = built("mlp", WIDE), built("mlp", WIDE)
    mup.initialise(model, WIDE)
    before = plain.state_dict()
    factors = {name: float((p / before[name]).mean()) for name, p in model.state_dict().items()}
    # torch draws within 1 / sqrt(fan-in): hidden weights are right as they are, outputs shrink by
    # another 4, and biases are brought back to what they are at the base.
    assert factors == pytest.approx(
        {
            "1.weight": 1.0,
            "1.bias": 1.0,
            "3.weight": 1.0,
            "3.bias": 2.0,
            "5.weight": 1 / 4,
            "5.bias": 4.0,
        }
    )


def test_a_convolution_and_a_recurrent_layer_by_hand() -> None:
    rates = derive_mup(cnn, BASE, WIDENED).learning_rate_factors({"a": 16, "b": 24})
    assert {rates[name] for name in ("0.weight", "1.weight", "5.bias", "10.bias")} == {1.0}
    assert (rates["4.weight"], rates["10.weight"]) == (0.5, 0.5)
    rates = derive_mup(lstm, BASE, WIDENED).learning_rate_factors(WIDE)
    assert rates["layers.weight_ih_l0"] == rates["layers.bias_hh_l1"] == 1.0
    assert rates["layers.weight_hh_l0"] == rates["layers.weight_ih_l1"] == 1 / 4
    assert rates["head.weight"] == 1 / 4


MLP = derive_mup(mlp, BASE, WIDENED)


@settings(deadline=None, max_examples=50)
@given(a=st.integers(1, 500), b=st.integers(1, 500))
def test_rates_fall_above_the_base_and_never_exceed_the_studys(a: int, b: int) -> None:
    rates = MLP.learning_rate_factors({"a": a, "b": b})
    assert rates["3.weight"] == pytest.approx(min(1.0, BASE["a"] / a))
    assert rates["5.weight"] == pytest.approx(min(1.0, BASE["b"] / b))
    assert [rates[f"{layer}.bias"] for layer in (1, 3, 5)] == [1.0, 1.0, 1.0]
    assert rates["1.weight"] == 1.0


def test_below_the_base_weights_keep_the_standard_size() -> None:
    def built(scaled: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = mlp({"a": 4, "b": 6})
        if scaled:
            MLP.initialise(model, {"a": 4, "b": 6})
        return {name: value.clone() for name, value in model.named_parameters()}

    plain, actual = built(False), built(True)
    for layer in (1, 3, 5):
        assert torch.equal(actual[f"{layer}.weight"], plain[f"{layer}.weight"])


def test_from_any_base_to_itself_is_one() -> None:
    for base in ({"a": 8, "b": 12}, {"a": 100, "b": 3}):
        mup = derive_mup(mlp, base, [{"a": 2 * base["a"], "b": base["b"]}, {"a": 8, "b": 99}])
        assert set(mup.learning_rate_factors(base).values()) == {1.0}


def test_a_builder_that_reads_values_has_rates_too() -> None:
    def build(widths: Widths) -> nn.Module:
        scale = float(torch.ones(3).sum())  # does not run on the meta device
        model = build_mlp(widths, input_shape=(20,), outputs=5)
        model.scale = scale
        return model

    assert derive_mup(build, BASE, WIDENED).learning_rate_factors(
        WIDE
    ) == MLP.learning_rate_factors(WIDE)


def test_another_model_than_the_base_is_refused() -> None:
    mup = derive_mup(
        lambda widths: build_mlp(dict(widths), input_shape=(20,), outputs=5), BASE, WIDENED
    )
    with pytest.raises(ModelError, match=r"'7\.bias' is not there both .* \"standard\""):
        mup.learning_rate_factors({**WIDE, "c": 4})


def test_a_width_that_no_candidate_moved_is_refused() -> None:
    mup = derive_mup(mlp, BASE, [{"a": 32, "b": BASE["b"]}])
    assert mup.learning_rate_factors({"a": 64, "b": BASE["b"]})["3.weight"] == 1 / 8
    with pytest.raises(ModelError, match=r"'3.weight' is of shape \(13, 8\) .* move every width"):
        mup.learning_rate_factors({"a": BASE["a"], "b": 13})


def test_its_description() -> None:
    assert MLP.name == "mup"
    assert MLP.describe() == (
        "one learning rate for all widths, by muP from the base a = 8, b = 12 (1 hidden, 1 output "
        "and 4 other tensors of parameters)."
    )
    assert StandardParametrisation().describe() == "Standard parametrisation."
    assert StandardParametrisation(reason="muP cannot.").describe().endswith("muP cannot.")


def test_standard_leaves_a_model_alone() -> None:
    model, same = built("mlp", WIDE), built("mlp", WIDE)
    StandardParametrisation().initialise(model, WIDE)
    assert all(
        torch.equal(p, q) for p, q in zip(model.parameters(), same.parameters(), strict=True)
    )
    assert StandardParametrisation().name == "standard"
    assert not StandardParametrisation().learning_rate_factors(WIDE)


def test_training_takes_it() -> None:
    """At the base a training is the same to the bit; elsewhere it is another."""
    data = load_data("iris", base=Path(), seed=0)
    objective = make_objective(family="mlp", data=data, base=Path())
    mup = derive_mup(objective.build, BASE, WIDENED)
    proxy = ProxySettings(epochs=2, device="cpu")
    base, base_mup, wide, wide_mup = (
        train(objective, widths, proxy, seed=3, parametrisation=scaling).losses
        for widths in (BASE, WIDE)
        for scaling in (None, mup)
    )
    assert base == base_mup
    assert wide != wide_mup
