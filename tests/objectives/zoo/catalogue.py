"""The zoo: thirteen networks as published, and each once more small enough to be trained here.

Entry points: `ZOO`, `ZooModel`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from widthwise.objectives.training.step import StepSpec, TensorSpec

from . import attention, convolutional, mobilenet, resnet, small

Build = Callable[[], nn.Module]
Output = Tensor | tuple[Tensor, Tensor]


def cross_entropy(output: Output, targets: Tensor) -> Tensor:
    """Return the cross entropy over dimension 1, or that of every head."""
    if isinstance(output, tuple):
        return sum(nn.functional.cross_entropy(head, targets) for head in output)
    return nn.functional.cross_entropy(output, targets)


def token_cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Return the cross entropy of the words [batch, tokens] under logits [batch, tokens, words]."""
    return nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten())


def squared_error(output: Output, targets: Tensor) -> Tensor:
    """Return the mean squared error, of the last of several outputs."""
    output = output[-1] if isinstance(output, tuple) else output
    return nn.functional.mse_loss(output, targets)


LossFunction = Callable[[Output, Tensor], Tensor]
CLASS_TARGET = TensorSpec(shape=(), dtype=torch.int64)


def token_spec(count: int) -> TensorSpec:
    """Return the spec of a sequence of words."""
    return TensorSpec(shape=(count,), dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """One network.

    Attributes:
        build: Makes it as published.
        inputs: One sample for it.
        published: Its parameters as others state them; None where nobody does.
        small: Makes one of the same classes with narrower and fewer layers.
        small_inputs: One sample for that.
        targets: What one sample's output is compared with.
        loss: How.
        blocks: Classes whose activations are recomputed where checkpointing is on.
        fused: Whether a fused recurrent kernel keeps a workspace that has to be measured.
    """

    build: Build
    inputs: TensorSpec
    published: int | None = None
    small: Build
    small_inputs: TensorSpec
    targets: TensorSpec
    loss: LossFunction
    blocks: tuple[str, ...]
    fused: bool = False

    def step(self, batch_size: int, optimizer: str = "sgd") -> StepSpec:
        """Return a step of the published network; its loss reaches every output."""
        return StepSpec(inputs=(self.inputs,), batch_size=batch_size, optimizer=optimizer)

    def small_step(
        self, batch_size: int, optimizer: str = "sgd", autocast: torch.dtype | None = None
    ) -> StepSpec:
        """Return a step of the small network."""
        return StepSpec(
            inputs=(self.small_inputs,),
            targets=self.targets,
            batch_size=batch_size,
            optimizer=optimizer,
            loss=self.loss,
            autocast=autocast,
        )


IMAGE = TensorSpec(shape=(3, 224, 224))
NARROW_RESNET50 = {name: width // 8 for name, width in resnet.RESNET50.items()}

ZOO: dict[str, ZooModel] = {
    "MLP": ZooModel(
        build=small.mlp,
        inputs=TensorSpec(shape=(784,)),
        small=lambda: small.mlp((20, 64, 32, 5)),
        small_inputs=TensorSpec(shape=(20,)),
        targets=CLASS_TARGET,
        loss=cross_entropy,
        blocks=("ReLU",),
    ),
    "two-headed MLP": ZooModel(
        build=small.TwoHeads,
        inputs=TensorSpec(shape=(31,)),
        published=4_392,
        small=lambda: small.TwoHeads(classes=5),
        small_inputs=TensorSpec(shape=(31,)),
        targets=CLASS_TARGET,
        loss=cross_entropy,
        blocks=("Sequential",),
    ),
    "ResNet-50": ZooModel(
        build=resnet.ResNet,
        inputs=IMAGE,
        published=25_557_032,
        small=lambda: resnet.ResNet(NARROW_RESNET50, (2, 1), 5),
        small_inputs=TensorSpec(shape=(3, 32, 32)),
        targets=CLASS_TARGET,
        loss=cross_entropy,
        blocks=("Bottleneck",),
    ),
    "MobileNetV2": ZooModel(
        build=mobilenet.MobileNetV2,
        inputs=IMAGE,
        published=3_504_872,
        small=lambda: mobilenet.MobileNetV2(5, 4, mobilenet.STAGES[:3]),
        small_inputs=TensorSpec(shape=(3, 32, 32)),
        targets=CLASS_TARGET,
        loss=cross_entropy,
        blocks=("InvertedResidual",),
    ),
    "DCGAN generator": ZooModel(
        build=convolutional.Generator,
        inputs=TensorSpec(shape=(100, 1, 1)),
        published=3_576_704,
        small=lambda: convolutional.Generator((10, 16, 8, 3)),
        small_inputs=TensorSpec(shape=(10, 1, 1)),
        targets=TensorSpec(shape=(3, 16, 16)),
        loss=squared_error,
        blocks=("BatchNorm2d",),
    ),
    "U-Net": ZooModel(
        build=convolutional.UNet,
        inputs=TensorSpec(shape=(1, 572, 572)),
        small=lambda: convolutional.UNet((4, 8, 16), 1, 5),
        small_inputs=TensorSpec(shape=(1, 44, 44)),
        targets=TensorSpec(shape=(4, 4), dtype=torch.int64),
        loss=cross_entropy,
        blocks=("DoubleConv",),
    ),
    "LSTM": ZooModel(
        build=lambda: small.Recurrent(nn.LSTM, 128, 256, 2, 10),
        inputs=TensorSpec(shape=(32, 128)),
        small=lambda: small.Recurrent(nn.LSTM, 8, 16, 2, 5),
        small_inputs=TensorSpec(shape=(5, 8)),
        targets=CLASS_TARGET,
        loss=cross_entropy,
        blocks=("LSTM",),
        fused=True,
    ),
    "GRU": ZooModel(
        build=lambda: small.Recurrent(nn.GRU, 128, 256, 2, 10),
        inputs=TensorSpec(shape=(32, 128)),
        small=lambda: small.Recurrent(nn.GRU, 8, 16, 2, 5),
        small_inputs=TensorSpec(shape=(5, 8)),
        targets=CLASS_TARGET,
        loss=cross_entropy,
        blocks=("GRU",),
    ),
    "nn.TransformerEncoder": ZooModel(
        build=attention.encoder,
        inputs=TensorSpec(shape=(64, 512)),
        published=18_914_304,
        small=lambda: attention.encoder(16, 2, 32, 2),
        small_inputs=TensorSpec(shape=(6, 16)),
        targets=TensorSpec(shape=(6, 16)),
        loss=squared_error,
        blocks=("TransformerEncoderLayer",),
    ),
    "BERT-base": ZooModel(
        build=attention.Bert,
        inputs=token_spec(128),
        published=109_482_240,
        small=lambda: attention.Bert(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            vocab_size=50,
            max_position_embeddings=16,
        ),
        small_inputs=token_spec(6),
        targets=TensorSpec(shape=(16,)),
        loss=squared_error,
        blocks=("BertLayer",),
    ),
    "GPT-2": ZooModel(
        build=attention.GPT2,
        inputs=token_spec(128),
        published=124_439_808,
        small=lambda: attention.GPT2(
            n_embd=16,
            n_layer=2,
            n_head=2,
            vocab_size=50,
            n_positions=16,
            bos_token_id=0,
            eos_token_id=0,
        ),
        small_inputs=token_spec(6),
        targets=token_spec(6),
        loss=token_cross_entropy,
        blocks=("GPT2Block",),
    ),
    "ViT-B/16": ZooModel(
        build=attention.VisionTransformer,
        inputs=IMAGE,
        published=86_567_656,
        small=lambda: attention.VisionTransformer(
            side=16, patch=4, heads=2, head_size=8, hidden=32, layers=2, classes=5
        ),
        small_inputs=TensorSpec(shape=(3, 16, 16)),
        targets=CLASS_TARGET,
        loss=cross_entropy,
        blocks=("Block",),
    ),
    "tied embedding": ZooModel(
        build=small.TiedBigram,
        inputs=token_spec(32),
        small=lambda: small.TiedBigram(50, 16),
        small_inputs=token_spec(6),
        targets=token_spec(6),
        loss=token_cross_entropy,
        blocks=("Sequential",),
    ),
}
"""By name; `formulas.EXPECTED_COSTS` has the same names."""
