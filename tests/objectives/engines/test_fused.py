"""The fused engine: the plain engine's networks up to rounding, and its own bits when resumed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from widthwise.objectives.data import Data, Split
from widthwise.objectives.engines import choose as chooser
from widthwise.objectives.engines import fused
from widthwise.objectives.engines.base import Member, Training, Unsuitable
from widthwise.objectives.engines.choose import choose
from widthwise.objectives.engines.fused import FusedEngine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.replay_team import ReplayTeam
from widthwise.objectives.errors import ModelError
from widthwise.objectives.objective import ModuleObjective, make_objective
from widthwise.objectives.order import Order
from widthwise.objectives.proxy import Halving, ProxySettings
from widthwise.objectives.together import Candidate, train_together

sys.path.insert(0, str(Path(__file__).parent))

from equality import (
    CPU,
    assert_equal_results,
    assert_equal_teams,
    family,
    generated,
    weights_after,
)
from replay_modules import CLASSES, LENGTH, TOKENS, Transformer

SETTINGS = ProxySettings(batch_size=16, patience=2, epochs=4, weight_decay=0.02)
NARROW, WIDE = {"size": 4, "heads": 2, "hidden": 9}, {"size": 3, "heads": 4, "hidden": 16}


def members(*widths: Mapping[str, int]) -> list[Member]:
    return [
        Member(widths=one, seed=7 + place, learning_rate=3e-3 * (1 + place))
        for place, one in enumerate(widths)
    ]


def words(rows: int = 90) -> Data:
    stream = torch.Generator().manual_seed(3)

    def split(rows: int) -> Split:
        inputs = torch.randint(TOKENS, (rows, LENGTH), generator=stream)
        return Split(inputs=inputs, targets=inputs[:, 0] % CLASSES)

    return Data(
        name="words",
        task="classification",
        train=split(rows),
        validation=split(40),
        test=split(30),
        outputs=CLASSES,
    )


def own(
    build: Callable[[Mapping[str, int]], nn.Module] = Transformer,
    dtype: torch.dtype = torch.float64,
    data: Data | None = None,
) -> ModuleObjective:
    return make_objective(
        build=lambda widths: build(widths).to(dtype), data=data or words(), base=Path()
    )


def training(objective: ModuleObjective, settings: ProxySettings = SETTINGS) -> Training:
    return Training(objective=objective, data=objective.data, settings=settings, device=CPU)


def replayed(team: ReplayTeam, place: int = 0) -> bool:
    """Whether a member's steps are really replayed, those of a full batch and the rest."""
    player = team._players[place]
    return player.refusal is None and player.proven(16) and player.proven(10)


class Attending(nn.Module):
    """Attention of some form over embedded words, and a residual stream."""

    def __init__(self, widths: Mapping[str, int], way: str) -> None:
        super().__init__()
        self.heads, self.way = widths["heads"], way
        size = widths["size"] * widths["heads"]
        self.words, self.project = nn.Embedding(TOKENS, size), nn.Linear(size, 3 * size)
        self.other, self.out = nn.Linear(size, size), nn.Linear(size, CLASSES)
        self.layer = (
            nn.TransformerEncoderLayer(size, self.heads, 2 * size, 0.0, batch_first=True)
            if way == "torch's layer"
            else nn.Identity()
        )

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words)
        parts = self.project(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        if self.way == "causal":
            found = scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.way == "scaled":
            found = scaled_dot_product_attention(q, k, v, scale=0.3)
        elif self.way == "fewer queries":
            found = scaled_dot_product_attention(q[:, :, :2], k, v).repeat(1, 1, 3, 1)
        elif self.way in ("masked", "masked and not"):
            mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
            found = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        elif self.way == "with dropout":
            found = scaled_dot_product_attention(q, k, v, dropout_p=0.2 * self.training)
        else:
            found = q
        if self.way == "masked and not":
            found = found + scaled_dot_product_attention(k, q, v)
        x = self.layer(x + self.other(found.transpose(1, 2).flatten(2)))
        return self.out(x.mean(1))


SERVED = ["causal", "scaled", "fewer queries", "masked and not", "torch's layer"]


def test_a_transformer_is_the_plain_one_up_to_rounding() -> None:
    engine = FusedEngine()
    error = assert_equal_teams(engine, own(), members(NARROW, WIDE), SETTINGS, epochs=4)
    assert 0 < error < 1e-9
    team = engine.start(training(own()), members(NARROW, WIDE))
    order = Order(90, 16, 1)
    for _ in range(3):
        team.advance(dict.fromkeys((0, 1), order.until(1.0)))
    assert replayed(team, 0)
    assert replayed(team, 1)


def test_in_float32_it_learns_the_same() -> None:
    """Single weights differ: the gradient of a key's bias is nothing but rounding."""
    asked, two = training(own(dtype=torch.float32)), members(NARROW, WIDE)
    found, plain = (weights_after(one, asked, two, 3) for one in (FusedEngine(), PlainEngine()))
    for mine, theirs in zip(found[1], plain[1], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    for mine, theirs in zip(found[2], plain[2], strict=True):
        assert float((mine - theirs).abs().max()) < 1e-2


@pytest.mark.parametrize("way", SERVED)
def test_attention_in_other_forms_is_the_plain_one(way: str) -> None:
    objective = own(partial(Attending, way=way))
    assert_equal_teams(FusedEngine(), objective, members(NARROW, WIDE), SETTINGS)


@settings(deadline=None, max_examples=5)
@given(
    widths=st.fixed_dictionaries(
        {"size": st.integers(2, 11), "heads": st.integers(1, 4), "hidden": st.integers(1, 20)}
    ),
    decay=st.sampled_from([0.0, 0.1]),
    batch=st.sampled_from([7, 16, 90]),
    parts=st.sampled_from([1, 3]),
)
def test_any_widths_and_options_give_the_plain_weights(
    widths: dict[str, int], decay: float, batch: int, parts: int
) -> None:
    settings = ProxySettings(batch_size=batch, weight_decay=decay, accumulate=parts)
    assert_equal_teams(FusedEngine(), own(), members(widths), settings, epochs=4)


class Halved:
    """Rates by width, as a parametrisation gives them."""

    def initialise(self, model: nn.Module, _: Mapping[str, int]) -> None:
        for one in model.parameters():
            one.mul_(0.5)

    def rates(self, widths: Mapping[str, int]) -> Mapping[str, float]:
        return {"block.project.weight": 1.0, "out.1.weight": 4 / widths["size"]}


def test_rates_of_single_parameters_are_kept() -> None:
    two = members(NARROW, WIDE)
    assert_equal_teams(FusedEngine(), own(), two, SETTINGS, scaling=Halved())


def test_the_whole_way_is_the_plain_one() -> None:
    candidates = [
        Candidate(widths={"size": 2 + place, "heads": 2, "hidden": 5}, seed=place)
        for place in range(4)
    ]
    settings = replace(SETTINGS, epochs=5, patience=1, halving=Halving(eta=2, first=0.5))
    results = assert_equal_results(FusedEngine(), own(), candidates, settings)
    assert {getattr(one, "outcome", None) for one in results} == {"complete", "pruned"}


def test_a_member_recalls_its_best_weights_and_goes_on_from_them() -> None:
    states = []
    for engine in (PlainEngine(), FusedEngine()):
        team = engine.start(training(own()), members(NARROW))
        order = Order(90, 16, 1)
        for epoch in range(5):
            team.advance({0: order.until(1.0)})
            if epoch == 2:
                team.remember([0])
            if epoch == 3:
                team.recall([0])
        states.append(team.state(0))
    for name, value in states[0].items():
        assert (states[1][name] - value).abs().max() <= 1e-9, name


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_member_that_is_resumed_is_the_same_bit_for_bit(epochs: int) -> None:
    """After one epoch the whole way is replayed, and the resumed one begins without a program."""
    objective, two = own(dtype=torch.float32), members(NARROW, WIDE)

    def started() -> Any:
        return FusedEngine().start(training(objective), two)

    def learn(team: Any, orders: list[Order], epochs: int) -> list[Any]:
        return [
            team.advance({place: orders[place].until(1.0) for place in (0, 1)})
            for _ in range(epochs)
        ]

    orders = [Order(90, 16, one.seed) for one in two]
    whole, cut, resumed = started(), started(), started()
    learn(whole, orders, epochs)
    learn(cut, [Order(90, 16, one.seed) for one in two], epochs)
    assert resumed.go_on_from({place: cut.progress(place) for place in (0, 1)}) == {}
    batches = [{place: orders[place].until(1.0) for place in (0, 1)} for _ in range(3)]
    assert [whole.advance(one) for one in batches] == [resumed.advance(one) for one in batches]
    for place in (0, 1):
        state, other = whole.state(place), resumed.state(place)
        assert all(torch.equal(state[name], other[name]) for name in state)


class Exploding(Transformer):
    """A network that is not a number, or that raises, from some width on."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__(widths)
        self.hidden = widths["hidden"]

    def forward(self, words: Tensor) -> Tensor:
        if self.hidden == 14 and len(words) == 10:
            raise MemoryError("out of memory")
        return super().forward(words) / (0.0 if self.hidden == 15 else 1.0)


def test_no_member_harms_its_neighbours() -> None:
    objective = own(Exploding, dtype=torch.float32)
    found, alone = (
        train_together(
            objective,
            [Candidate(widths={**NARROW, "hidden": width}, seed=1) for width in widths],
            SETTINGS,
            device=CPU,
            engine=FusedEngine(),
        )
        for widths in ((5, 14, 15, 8), (5, 8))
    )
    assert [getattr(one, "outcome", type(one).__name__) for one in found] == [
        "complete",
        "out_of_memory",
        "nan",
        "complete",
    ]
    for one, other in zip((found[0], found[3]), alone, strict=True):
        for name in ("score", "curve", "losses", "test_value"):
            assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize(
    ("objective", "settings", "reason"),
    [
        pytest.param(
            family("mlp", generated()), SETTINGS, "no attention that is compiled", id="no attention"
        ),
        pytest.param(
            own(partial(Attending, way="masked")),
            SETTINGS,
            "no attention that is compiled",
            id="masks alone",
        ),
        pytest.param(
            own(partial(Attending, way="with dropout")),
            SETTINGS,
            "no attention that is compiled",
            id="dropout of weights",
        ),
        pytest.param(
            own(dtype=torch.float32),
            replace(SETTINGS, precision="bfloat16"),
            "float32 and float64, not for bfloat16",
            id="half precision",
        ),
    ],
)
def test_what_it_is_not_for_is_refused_with_the_reason(
    objective: ModuleObjective, settings: ProxySettings, reason: str
) -> None:
    widths = NARROW if objective.data.name == "words" else {"a": 4}
    with pytest.raises(Unsuitable, match=reason):
        FusedEngine().start(training(objective, settings), members(widths))
    with pytest.raises(ModelError, match=r"engine 'fused' cannot train this model: .* engine = "):
        choose(training(objective, settings), members(widths), trainings=1, wanted="fused")


def test_a_step_that_cannot_be_repeated_is_refused() -> None:
    class Counting(Transformer):
        calls = 0

        def forward(self, words: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(words)

    with pytest.raises(Unsuitable, match="changes more than parameters"):
        FusedEngine().start(training(own(Counting)), members(NARROW))


def test_only_a_cpu_is_served() -> None:
    asked = replace(training(own()), device=torch.device("meta"))
    with pytest.raises(Unsuitable, match="not on meta"):
        FusedEngine().start(asked, members(NARROW))


def test_the_calibration_refuses_it_where_losses_differ(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel that were wrong would never train anything."""
    attend = fused.attention
    wrong = {
        **fused._SWAPS,
        fused.FORWARD: lambda *given, **options: attend(*given, **{**options, "scale": 9.0}),
    }
    monkeypatch.setattr(chooser, "_SLOW_STEP", 1e9)
    monkeypatch.setattr(chooser, "_candidates", lambda *_: ["fused"])
    monkeypatch.setattr(fused, "_SWAPS", wrong)
    many = replace(SETTINGS, epochs=10_000)
    asked = training(own(dtype=torch.float32), many)
    with caplog.at_level("DEBUG"):
        assert choose(asked, members(NARROW), trainings=10_000).engine.name == "plain"
    assert "engine 'fused' is out: its first losses are" in caplog.text
