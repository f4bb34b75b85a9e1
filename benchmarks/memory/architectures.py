"""The architectures of the table: the zoo narrowed, and what traces got wrong before.

Several consumers of a tensor, views into linear layers, recomputed activations, Hugging Face's
models, layers dropped at random, Fourier transforms, parts of a batch.

Entry points: `ARCHITECTURES`, `Architecture`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from widthwise.objectives.training.step import StepSpec, TensorSpec
from widthwise.tests.objectives.zoo.catalogue import ZOO, token_spec
from widthwise.tests.objectives.zoo.consumers import CONSUMERS, LINEARS, spectral
from widthwise.tests.objectives.zoo.recompute import (
    InSequence,
    Recomputing,
    with_activation_checkpointing,
)

Build = Callable[[], nn.Module]

BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row of the table: a builder and the step that it is trained by."""

    build: Build
    step: StepSpec


class Logits(nn.Module):
    """A language model of Transformers, called with words and nothing else."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, words: Tensor) -> Tensor:
        """Return logits [batch, tokens, words]."""
        logits: Tensor = self.model(input_ids=words, use_cache=False).logits
        return logits


class FourierMixer(nn.Module):
    """Tokens mixed by a Fourier transform in place of attention (Lee-Thorp et al. 2021)."""

    def __init__(self, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU())
            for _ in range(layers)
        )
        self.outs = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return features [batch, tokens, width]."""
        for feed, out in zip(self.feeds, self.outs, strict=True):
            x = x + torch.fft.fft2(x).real
            x = x + out(feed(x))
        return x


class DenseBlock(nn.Module):
    """Convolutions that see all features before them (Huang et al. 2017)."""

    def __init__(self, growth: int = 16, layers: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(3 + growth * i),
                nn.ReLU(),
                nn.Conv2d(3 + growth * i, growth, 3, padding=1),
            )
            for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features [batch, channels, height, width]."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class LayerDrop(nn.Module):
    """Residual blocks that are left out by chance in training (Fan et al. 2019)."""

    def __init__(self, width: int = 16, blocks: int = 6) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features [batch, width]."""
        for block in self.blocks:
            if not self.training or torch.rand([]) > 0.0:  # never left out: the costliest outcome
                x = x + block(x)
        return x


def llama() -> nn.Module:
    """Return a narrow Llama with grouped keys and values."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=100,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    return Logits(LlamaForCausalLM(config))


def gpt2_without_mask() -> nn.Module:
    """Return a narrow GPT-2 that is given no attention mask."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=128)
    return Logits(GPT2LMHeadModel(config))


def gpt_neox() -> nn.Module:
    """Return a narrow GPT-NeoX: attention and feed-forward side by side."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    return Logits(GPTNeoXForCausalLM(config))


def distilbert() -> nn.Module:
    """Return a narrow DistilBERT with its language model's head."""
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    config = DistilBertConfig(
        vocab_size=100, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=128
    )

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = DistilBertForMaskedLM(config)

        def forward(self, words: Tensor) -> Tensor:
            logits: Tensor = self.model(input_ids=words).logits
            return logits

    return Masked()


def vit() -> nn.Module:
    """Return a narrow Vision Transformer of Transformers."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=16,
        patch_size=4,
    )

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = ViTForImageClassification(config)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.model(pixel_values=images).logits
            return logits

    return Classifier()


def _step(*shape: int, optimizer: str = "adamw", **options: object) -> StepSpec:
    return StepSpec(
        inputs=(TensorSpec(shape=shape),),
        batch_size=BATCH_SIZE,
        optimizer=optimizer,
        **options,  # type: ignore[arg-type]
    )


def _words(count: int) -> StepSpec:
    return StepSpec(inputs=(token_spec(count),), batch_size=BATCH_SIZE)


def _all() -> dict[str, Architecture]:
    rows = {
        name: Architecture(build=entry.small, step=entry.small_step(BATCH_SIZE, "adamw"))
        for name, entry in ZOO.items()
    }
    for name in ("MLP", "ResNet-50", "nn.TransformerEncoder", "BERT-base", "GPT-2", "ViT-B/16"):
        entry = ZOO[name]
        rows[f"{name}, checkpointed"] = Architecture(
            build=lambda entry=entry: with_activation_checkpointing(entry.small(), entry.blocks),
            step=entry.small_step(BATCH_SIZE, "adamw"),
        )
    for name, build in CONSUMERS.items():
        rows[name] = Architecture(build=build, step=_step(16))
    for name, build in LINEARS.items():
        rows[f"linear, {name}"] = Architecture(build=build, step=_step(12, 10))
    rows |= {
        "five heads, SGD": Architecture(
            build=CONSUMERS["five heads"], step=_step(16, optimizer="sgd")
        ),
        "residual blocks, SGD": Architecture(
            build=CONSUMERS["residual blocks"], step=_step(16, optimizer="sgd")
        ),
        "residual blocks, batch in 4 parts": Architecture(
            build=CONSUMERS["residual blocks"], step=replace(_step(16), accumulate=4)
        ),
        "residual blocks, bf16": Architecture(
            build=CONSUMERS["residual blocks"], step=_step(16, autocast=torch.bfloat16)
        ),
        "checkpoint": Architecture(build=partial(Recomputing, use_reentrant=False), step=_step(16)),
        "checkpoint, dropout": Architecture(
            build=partial(Recomputing, 0.1, use_reentrant=False), step=_step(16)
        ),
        "checkpoint, no random state": Architecture(
            build=partial(Recomputing, use_reentrant=False, preserve_rng_state=False),
            step=_step(16),
        ),
        "checkpoint_sequential": Architecture(build=InSequence, step=_step(16)),
        "complex products": Architecture(build=spectral, step=_step(16)),
        "Fourier mixer": Architecture(build=FourierMixer, step=_step(8, 32)),
        "dense block": Architecture(build=DenseBlock, step=_step(3, 16, 16)),
        "LayerDrop": Architecture(build=LayerDrop, step=_step(16)),
        "Hugging Face Llama": Architecture(build=llama, step=_words(64)),
        "Hugging Face GPT-2, no mask": Architecture(build=gpt2_without_mask, step=_words(64)),
        "Hugging Face GPT-NeoX": Architecture(build=gpt_neox, step=_words(64)),
        "Hugging Face DistilBERT": Architecture(build=distilbert, step=_words(64)),
        "Hugging Face ViT": Architecture(build=vit, step=_step(3, 16, 16)),
    }
    return rows


ARCHITECTURES: dict[str, Architecture] = _all()
"""By name."""
