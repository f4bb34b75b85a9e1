"""MACs against formulas derived by hand; each mended gap of torch's counter has its test here."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import Costs, StepSpec, TensorSpec, count_costs
from widthwise.objectives.trace.flops import FORMULAS, FlopCounter, convolution_backward_flops

BATCH = 4
T, D, H, F = 6, 8, 2, 16  # tokens, model width, heads, feed-forward width


def count(build: Callable[[], nn.Module], *shape: int, dtype: torch.dtype = torch.float32) -> Costs:
    inputs = (TensorSpec(shape=shape, dtype=dtype),)
    return count_costs(build, StepSpec(inputs=inputs, batch_size=BATCH))


class InputGradientFree(nn.Module):
    """The first of what a module returns."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


class Attention(nn.Module):
    """Attention without projections: every input gradient is needed but the first."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x).unflatten(-1, (H, D // H)).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(x, x, x)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, D)
        self.out = nn.Linear(D, 50, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embedding(x))


class VectorProduct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.ones(D))

    def forward(self, x: Tensor) -> Tensor:
        return torch.mv(x, self.vector)


def encoder(dropout: float) -> nn.Module:
    return nn.TransformerEncoderLayer(D, H, F, dropout=dropout, batch_first=True)


def forward_and_step(case: str) -> tuple[Callable[[], nn.Module], tuple[int, ...], int, int]:
    """Return builder, input shape, and hand-derived MACs of the forward pass and of the step."""
    projections, feed_forward, products = 4 * T * D * D, 2 * T * D * F, 2 * T * T * D
    layer = projections + feed_forward + products
    mlp = 20 * 64 + 64 * 32 + 32 * 5
    stem, strided = 12 * 12 * 8 * 3 * 9, 5 * 5 * 16 * 8 * 9
    depthwise, pointwise = 10 * 10 * 8 * 9, 10 * 10 * 16 * 8
    up = 6 * 6 * 8 * (4 // 2) * 4  # input positions × in × out / groups × kernel
    recurrent = 5 * 7 + 7 * 7
    return {
        "mlp": (
            lambda: nn.Sequential(
                nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5)
            ),
            (20,),
            mlp,
            3 * mlp - 20 * 64,
        ),
        "convolution": (
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2)),
            (3, 12, 12),
            stem + strided,
            3 * (stem + strided) - stem,
        ),
        "depthwise convolution": (
            lambda: nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)
            ),
            (3, 12, 12),
            stem + depthwise + pointwise,
            3 * (stem + depthwise + pointwise) - stem,
        ),
        "grouped transposed convolution": (
            lambda: nn.Sequential(
                nn.Conv2d(3, 8, 1), nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2)
            ),
            (3, 6, 6),
            6 * 6 * 3 * 8 + up,
            3 * (6 * 6 * 3 * 8 + up) - 6 * 6 * 3 * 8,
        ),
        # The fused kernel computes the scores again: one product more than 3 × the forward pass.
        "attention": (
            Attention,
            (T, D),
            T * D * D + products,
            3 * (T * D * D + products) + products // 2 - T * D * D,
        ),
        "encoder layer, fused attention": (
            lambda: encoder(0.0),
            (T, D),
            layer,
            3 * layer + products // 2 - 3 * T * D * D,
        ),
        # Dropout inside attention takes the plain products: nothing is computed again.
        "encoder layer, plain attention": (
            lambda: encoder(0.1),
            (T, D),
            layer,
            3 * layer - 3 * T * D * D,
        ),
        # The fused kernel computes the input's gradient, needed or not.
        "lstm": (
            lambda: InputGradientFree(nn.LSTM(5, 7, batch_first=True)),
            (T, 5),
            4 * T * recurrent,
            3 * 4 * T * recurrent,
        ),
        "bidirectional lstm of two layers": (
            lambda: InputGradientFree(
                nn.LSTM(5, 7, num_layers=2, bidirectional=True, batch_first=True)
            ),
            (T, 5),
            2 * 4 * T * (recurrent + 14 * 7 + 7 * 7),
            3 * 2 * 4 * T * (recurrent + 14 * 7 + 7 * 7),
        ),
        # The first state is a constant: T - 1 gradients of states.
        "gru": (
            lambda: InputGradientFree(nn.GRU(5, 7, batch_first=True)),
            (T, 5),
            3 * T * recurrent,
            3 * 3 * T * recurrent - 3 * T * 5 * 7 - 3 * 7 * 7,
        ),
        "matrix times vector": (VectorProduct, (D,), D, 2 * D),
    }[case]


CASES = (
    "mlp",
    "convolution",
    "depthwise convolution",
    "grouped transposed convolution",
    "attention",
    "encoder layer, fused attention",
    "encoder layer, plain attention",
    "lstm",
    "bidirectional lstm of two layers",
    "gru",
    "matrix times vector",
)


@pytest.mark.parametrize("case", CASES)
def test_macs_of_the_forward_pass_and_of_the_step(case: str) -> None:
    build, shape, forward, step = forward_and_step(case)
    costs = count(build, *shape)
    assert (costs.macs, costs.flops, costs.step_flops) == (forward, 2 * forward, 2 * step)


def test_tied_embedding_counts_its_output_product_only() -> None:
    costs = count(Tied, T, dtype=torch.int64)
    assert costs.parameters == 50 * D
    assert costs.macs == T * D * 50
    assert costs.step_flops == 3 * costs.flops


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, requires_grad=True)


@pytest.mark.parametrize(
    ("operation", "flops"),
    [
        (lambda: torch.dot(ones(5), ones(5)), 2 * 5),
        (lambda: torch.vdot(ones(5), ones(5)), 2 * 5),
        (lambda: torch.addmv(ones(3), ones(3, 4), ones(4)), 2 * 3 * 4),
        (lambda: torch.addbmm(ones(3, 5), ones(2, 3, 4), ones(2, 4, 5)), 2 * 2 * 3 * 4 * 5),
        (lambda: torch._addmm_activation(ones(5), ones(3, 4), ones(4, 5)), 2 * 3 * 4 * 5),
        (lambda: torch.cdist(ones(2, 3, 4), ones(2, 6, 4)), 2 * 2 * 3 * 6 * 4),
        (
            lambda: torch.cdist(ones(2, 3, 4), ones(2, 6, 4).detach()).sum().backward(),
            2 * (2 * 2 * 3 * 6 * 4),
        ),
    ],
    ids=["dot", "vdot", "addmv", "addbmm", "addmm and activation", "cdist", "cdist and gradient"],
)
def test_products_that_torch_leaves_out(operation: Callable[[], object], flops: int) -> None:
    with FlopCounter() as counter:
        operation()
    assert counter.flops == flops


def test_bilinear_counts_one_mac_a_weight() -> None:
    inputs = (TensorSpec(shape=(3,)), TensorSpec(shape=(4,)))
    costs = count_costs(lambda: nn.Bilinear(3, 4, 5), StepSpec(inputs=inputs, batch_size=BATCH))
    assert costs.macs == 3 * 4 * 5


def test_a_frozen_first_layer_saves_its_gradients() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 5))
        model[0].requires_grad_(False)
        return model

    costs = count(build, 20)
    assert costs.step_flops == 2 * ((20 * 64 + 64 * 5) + 64 * 5)
    assert (costs.parameters, costs.trainable_parameters) == (20 * 64 + 64 + 64 * 5 + 5, 64 * 5 + 5)


def test_the_encoder_counts_in_eval_mode_and_the_fast_path_comes_back() -> None:
    torch.backends.mha.set_fastpath_enabled(True)
    stack = count(lambda: nn.TransformerEncoder(encoder(0.0), 3), T, D)
    assert stack.macs == 3 * (4 * T * D * D + 2 * T * D * F + 2 * T * T * D)
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_has_no_formula_is_named() -> None:
    class Spectrum(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(super().forward(x)).abs()

    (note,) = count(lambda: Spectrum(5, 8), 5).notes
    assert "aten._fft_r2c" in note


@pytest.mark.parametrize("case", CASES)
def test_ordinary_models_name_nothing_uncounted(case: str) -> None:
    build, shape, _, _ = forward_and_step(case)
    assert not [note for note in count(build, *shape).notes if "formula" in note]


def test_worked_example_of_the_depthwise_gradient() -> None:
    flops = convolution_backward_flops(
        (1, 4, 3, 3), (1, 4, 5, 5), (4, 1, 3, 3), None, 1, 0, 1, False, 0, 4, [True, True, True]
    )
    assert flops == 2 * 648


def test_formulas_are_of_operators_that_exist() -> None:
    assert all(isinstance(packet, torch._ops.OpOverloadPacket) for packet in FORMULAS)


def complex_linear(x: Tensor) -> Tensor:
    return x @ torch.ones(6, 5, dtype=x.dtype)


COMPLEX_PRODUCTS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "matrices": (complex_linear, 4 * 3 * 6 * 5),
    "batches of matrices": (lambda x: x.expand(2, 3, 6) @ x.expand(2, 3, 6).mT, 4 * 2 * 3 * 6 * 3),
    "einsum": (lambda x: torch.einsum("ni,mi->nm", x, x), 4 * 3 * 3 * 6),
    "a vector": (lambda x: x @ torch.ones(6, dtype=x.dtype), 4 * 3 * 6),
}


@pytest.mark.parametrize("product", COMPLEX_PRODUCTS)
def test_a_complex_product_is_four_real_ones(product: str) -> None:
    function, macs = COMPLEX_PRODUCTS[product]
    with FlopCounter() as counter:
        function(torch.ones(3, 6, dtype=torch.complex64))
    assert counter.flops == 2 * macs
    with FlopCounter() as counter:
        function(torch.ones(3, 6))
    assert counter.flops == 2 * macs // 4
