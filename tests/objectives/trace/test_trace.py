"""Steps of lower precision and with recomputation: predicted peaks equal the real ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.errors import CostError
from widthwise.tests.objectives.trace.real_step import CLASS, OPTIMIZERS, real_peaks


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.LayerNorm(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 5)
    )


def cnn(norm: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        norm(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 1),
        norm(16),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(1))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp with layer norm": (mlp, (20,)),
    "cnn with batch norm": (lambda: cnn(nn.BatchNorm2d), (1, 12, 12)),
    "cnn with group norm": (lambda: cnn(lambda width: nn.GroupNorm(2, width)), (1, 12, 12)),
    "encoder": (Encoder, (6, 32)),
}


def step(shape: tuple[int, ...], batch_size: int, optimizer: str, **options) -> StepSpec:
    return StepSpec(
        inputs=(TensorSpec(shape=shape),),
        targets=CLASS,
        batch_size=batch_size,
        optimizer=optimizer,
        loss=nn.functional.cross_entropy,
        **options,
    )


@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("model", MODELS)
def test_peaks_in_bfloat16_equal_the_real_ones(model: str, optimizer: str, batch_size: int) -> None:
    build, shape = MODELS[model]
    spec = step(shape, batch_size, optimizer, autocast=torch.bfloat16)
    costs = count_costs(build, spec)
    real = real_peaks(build, spec, OPTIMIZERS[optimizer][1])
    assert (costs.train_memory, costs.inference_memory) == real


class TwoInputs(nn.Module):
    """Tokens and a mask by name, two outputs, and the loss where there are labels."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mixed = nn.Embedding(7, 12), nn.Linear(12, 20)
        self.classes, self.amount = nn.Linear(20, 5), nn.Linear(20, 1)

    def forward(
        self, tokens: Tensor, mask: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        hidden = (self.embedding(tokens) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        hidden = torch.relu(self.mixed(hidden))
        output = {"classes": self.classes(hidden), "amount": self.amount(hidden)}
        if labels is not None:
            output["loss"] = nn.functional.cross_entropy(output["classes"], labels)
        return output


TOKENS = {"tokens": TensorSpec(shape=(9,), dtype=torch.int64), "mask": TensorSpec(shape=(9,))}
BATCHES: dict[str, dict[str, object]] = {
    "two inputs, two targets": {
        "inputs": TOKENS,
        "targets": {"class": CLASS, "amounts": (TensorSpec(shape=(1,)),)},
        "loss": lambda output, targets: (
            nn.functional.cross_entropy(output["classes"], targets["class"])
            + nn.functional.mse_loss(output["amount"], targets["amounts"][0])
        ),
    },
    "the forward's own loss": {
        "inputs": {**TOKENS, "labels": CLASS},
        "targets": CLASS,
        "loss": lambda output, _: output["loss"],
    },
    "no targets": {
        "inputs": TOKENS,
        "loss": lambda output, batch: (
            (output["amount"][:, 0] - batch["mask"].mean(1)).square().mean()
        ),
    },
    "in parts": {
        "inputs": {**TOKENS, "labels": CLASS},
        "targets": CLASS,
        "loss": lambda output, _: output["loss"],
        "accumulate": 3,
    },
}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("batch", BATCHES)
def test_peaks_of_batches_of_several_tensors_equal_the_real_ones(
    batch: str, optimizer: str
) -> None:
    spec = StepSpec(batch_size=16, optimizer=optimizer, **BATCHES[batch])  # type: ignore[arg-type]
    costs = count_costs(TwoInputs, spec)
    real = real_peaks(TwoInputs, spec, OPTIMIZERS[optimizer][1])
    assert (costs.train_memory, costs.inference_memory) == real


def test_costs_of_several_inputs_are_those_of_their_layers() -> None:
    """Per sample: a table is read, three layers multiply; all by hand."""
    costs = count_costs(TwoInputs, StepSpec(inputs=TOKENS, batch_size=4))
    assert costs.macs == 12 * 20 + 20 * 5 + 20 * 1
    assert costs.parameters == 7 * 12 + 13 * 20 + 21 * 5 + 21


def test_lower_precision_needs_less_memory_and_the_same_work() -> None:
    full, half = (
        count_costs(mlp, step((20,), 512, "sgd", autocast=dtype)) for dtype in (None, torch.float16)
    )
    assert half.train_memory < full.train_memory
    assert (half.flops, half.step_flops, half.file_size) == (
        full.flops,
        full.step_flops,
        full.file_size,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autocast": torch.float64}, "autocast is torch.float64"),
        ({"device_type": "mps"}, "device type is 'mps'"),
    ],
    ids=["float64", "mps"],
)
def test_refuses_what_torch_has_not(options: dict[str, object], message: str) -> None:
    with pytest.raises(CostError, match=message):
        step((20,), 8, "sgd", **options)


class Recomputing(nn.Module):
    """Residual blocks whose activations are computed again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 32))
            for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            # In eval mode there is no gradient to recompute for, and torch warns of it.
            if self.training:
                x = x + checkpoint(block, x, use_reentrant=self.reentrant)
            else:
                x = x + block(x)
        return self.head(x)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("batch_size", [8, 32, 256])
@pytest.mark.parametrize("reentrant", [False, True], ids=["not reentrant", "reentrant"])
def test_peaks_with_checkpointing_equal_the_real_ones(
    reentrant: bool, batch_size: int, autocast: torch.dtype | None
) -> None:
    def build() -> nn.Module:
        return Recomputing(reentrant)

    spec = step((20,), batch_size, "sgd", autocast=autocast)
    costs = count_costs(build, spec)
    real = real_peaks(build, spec, OPTIMIZERS["sgd"][1])
    assert (costs.train_memory, costs.inference_memory) == real


class Masked(nn.Module):
    """An encoder and a decoder with masks, of which torch asks whether they are causal."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        layer = nn.TransformerDecoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        encoded = self.encoder(x, mask=mask)
        return self.head(self.decoder(x, encoded, tgt_mask=mask).mean(1))


def test_peaks_with_a_causal_mask_equal_the_real_ones() -> None:
    spec = step((6, 32), 8, "adamw")
    costs = count_costs(Masked, spec)
    assert (costs.train_memory, costs.inference_memory) == real_peaks(
        Masked, spec, OPTIMIZERS["adamw"][1]
    )


@pytest.mark.parametrize(
    ("build", "shape", "is_said"),
    [
        (lambda: nn.Conv2d(1, 4, 3), (1, 8, 8), True),
        (lambda: nn.ConvTranspose1d(3, 4, 2), (3, 8), True),
        (lambda: nn.Linear(8, 4), (8,), False),
    ],
    ids=["convolution", "transposed convolution", "linear layer"],
)
def test_the_scratch_of_convolutions_is_said_to_be_left_out(
    build: Callable[[], nn.Module], shape: tuple[int, ...], is_said: bool
) -> None:
    spec = StepSpec(inputs=(TensorSpec(shape=shape),), batch_size=4)
    assert any("scratch space" in note for note in count_costs(build, spec).notes) == is_said
    on_gpu = StepSpec(inputs=(TensorSpec(shape=shape),), batch_size=4, device_type="cuda")
    assert not any("scratch space" in note for note in count_costs(build, on_gpu).notes)
