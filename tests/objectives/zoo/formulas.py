"""What each network of the zoo costs, derived by hand from its architecture and not from its code.

One multiply-add is one MAC. A convolution does side² × inputs / groups × outputs × kernel², side
the output's (the input's where it is transposed); a linear layer rows × inputs × outputs; attention
of T tokens and width D does 2 × T² × D for scores and sums. Biases, norms, activations, pooling and
look-ups do none.

A step does the forward pass and two products of the same size a layer, the gradients of its weight
and of its input: 3 × forward. Less the first layer's input gradient, which nobody wants; other
exceptions are the field `extra_step_macs`, each derived where it stands.

Entry point: `EXPECTED_COSTS`.
"""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class ExpectedCosts:
    """The costs of one network, per sample.

    Attributes:
        parameters: Elements of all parameters.
        forward: MACs of the forward pass.
        input_macs: MACs of what is multiplied by the input itself.
        extra_step_macs: MACs of a step beyond 3 × forward − first; negative where it does fewer.
    """

    parameters: int
    forward: int
    input_macs: int
    extra_step_macs: int = 0

    @property
    def step(self) -> int:
        """Return the MACs of a training step."""
        return 3 * self.forward - self.input_macs + self.extra_step_macs


def perceptron() -> ExpectedCosts:
    products = [a * b for a, b in pairwise((784, 512, 256, 10))]
    return ExpectedCosts(
        parameters=sum(products) + 512 + 256 + 10, forward=sum(products), input_macs=products[0]
    )


def two_heads() -> ExpectedCosts:
    products = 31 * 64 + 64 * 32 + 2 * 32 * 4
    return ExpectedCosts(
        parameters=products + 64 + 32 + 2 * 4, forward=products, input_macs=31 * 64
    )


def convolutions(layers: list[tuple[int, int, int, int, int]]) -> tuple[int, int]:
    """Return weights and MACs of (side, inputs, outputs, kernel, groups)."""
    weights = [i // groups * o * kernel**2 for _, i, o, kernel, groups in layers]
    macs = [layer[0] ** 2 * weight for layer, weight in zip(layers, weights, strict=True)]
    return sum(weights), sum(macs)


def resnet50() -> ExpectedCosts:
    stem = (112, 3, 64, 7, 1)
    layers, incoming = [stem], 64
    for inner, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        outer = 4 * inner
        before = side if inner == 64 else 2 * side  # the 3 × 3 convolution has the stride
        layers += [(before, incoming, inner, 1, 1), (side, incoming, outer, 1, 1)]
        layers += (blocks - 1) * [(side, outer, inner, 1, 1)]
        layers += blocks * [(side, inner, inner, 3, 1), (side, inner, outer, 1, 1)]
        incoming = outer
    weights, macs = convolutions(layers)
    norms = sum(2 * outputs for _, _, outputs, _, _ in layers)
    return ExpectedCosts(
        parameters=weights + norms + 2048 * 1000 + 1000,
        forward=macs + 2048 * 1000,
        input_macs=112**2 * 3 * 64 * 49,
    )


def mobilenet_v2() -> ExpectedCosts:
    layers, incoming, side = [(112, 3, 32, 3, 1)], 32, 112
    for expansion, channels, blocks, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(blocks):
            inner = expansion * incoming
            if expansion > 1:
                layers.append((side, incoming, inner, 1, 1))
            if block == 0:
                side //= stride
            layers += [(side, inner, inner, 3, inner), (side, inner, channels, 1, 1)]
            incoming = channels
    layers.append((7, 320, 1280, 1, 1))
    weights, macs = convolutions(layers)
    norms = sum(2 * outputs for _, _, outputs, _, _ in layers)
    return ExpectedCosts(
        parameters=weights + norms + 1280 * 1000 + 1000,
        forward=macs + 1280 * 1000,
        input_macs=112**2 * 3 * 32 * 9,
    )


def dcgan_generator() -> ExpectedCosts:
    """Transposed convolutions: every input position is multiplied by the whole weight."""
    sides, widths = (1, 4, 8, 16, 32), (100, 512, 256, 128, 64, 3)
    pairs = list(pairwise(widths))
    return ExpectedCosts(
        parameters=sum(16 * a * b for a, b in pairs) + 2 * (512 + 256 + 128 + 64),
        forward=sum(s**2 * 16 * a * b for s, (a, b) in zip(sides, pairs, strict=True)),
        input_macs=16 * 100 * 512,
    )


def unet() -> ExpectedCosts:
    layers = []
    incoming = 1
    for side, width in ((570, 64), (282, 128), (138, 256), (66, 512), (30, 1024)):
        layers += [(side, incoming, width, 3, 1), (side - 2, width, width, 3, 1)]
        incoming = width
    for side, width in ((28, 512), (52, 256), (100, 128), (196, 64)):
        layers.append((side, 2 * width, width, 2, 1))  # transposed: side is the input's
        layers += [(2 * side - 2, 2 * width, width, 3, 1), (2 * side - 4, width, width, 3, 1)]
    layers.append((388, 64, 2, 1, 1))
    weights, macs = convolutions(layers)
    biases = sum(outputs for _, _, outputs, _, _ in layers)
    return ExpectedCosts(parameters=weights + biases, forward=macs, input_macs=570**2 * 64 * 9)


def lstm() -> ExpectedCosts:
    """Four gates. The fused kernel always computes the input's gradient: `input_macs` is 0."""
    time, sizes, hidden, classes = 32, (128, 256), 256, 10
    weights = sum(4 * hidden * (inputs + hidden) for inputs in sizes)
    return ExpectedCosts(
        parameters=weights + 2 * 2 * 4 * hidden + hidden * classes + classes,
        forward=time * weights + hidden * classes,
        input_macs=0,
    )


def gru() -> ExpectedCosts:
    """Three gates. The first state is a constant: a layer takes one gradient of a state less."""
    time, sizes, hidden, classes = 32, (128, 256), 256, 10
    weights = sum(3 * hidden * (inputs + hidden) for inputs in sizes)
    return ExpectedCosts(
        parameters=weights + 2 * 2 * 3 * hidden + hidden * classes + classes,
        forward=time * weights + hidden * classes,
        input_macs=time * 3 * hidden * 128,
        extra_step_macs=-2 * 3 * hidden * hidden,
    )


def blocks(layers: int, tokens: int, width: int, hidden: int) -> tuple[int, int, int]:
    """Return parameters, MACs, and the MACs of Q Kᵀ of Transformer blocks with biases."""
    products = 4 * width * width + 2 * width * hidden
    parameters = products + 4 * width + hidden + width + 2 * 2 * width
    scores = tokens * tokens * width
    return layers * parameters, layers * (tokens * products + 2 * scores), layers * scores


def transformer_encoder() -> ExpectedCosts:
    """Nobody wants the gradient of what Q, K and V of the first layer are made from."""
    parameters, macs, _ = blocks(6, 64, 512, 2048)
    return ExpectedCosts(parameters=parameters, forward=macs, input_macs=3 * 64 * 512 * 512)


def bert_base() -> ExpectedCosts:
    """The pooler reads one token. The first layer is a look-up: every product has 3 parts."""
    parameters, macs, _ = blocks(12, 128, 768, 3072)
    embedded = (30_522 + 512 + 2) * 768 + 2 * 768
    pooler = 768 * 768
    return ExpectedCosts(
        parameters=embedded + parameters + pooler + 768, forward=macs + pooler, input_macs=0
    )


def gpt2() -> ExpectedCosts:
    """The output shares the embedding's weight. A causal mask saves nothing."""
    parameters, macs, _ = blocks(12, 128, 768, 3072)
    embedded = (50_257 + 1024) * 768
    return ExpectedCosts(
        parameters=embedded + parameters + 2 * 768, forward=macs + 128 * 768 * 50_257, input_macs=0
    )


def vit_b_16() -> ExpectedCosts:
    """Without dropout attention is fused and keeps no scores: a step computes Q Kᵀ once more."""
    tokens, width = 14 * 14 + 1, 768
    parameters, macs, scores = blocks(12, tokens, width, 3072)
    patches = 3 * 16 * 16 * width
    return ExpectedCosts(
        parameters=patches + width + width + tokens * width + parameters + 2 * width + 769 * 1000,
        forward=14 * 14 * patches + macs + width * 1000,
        input_macs=14 * 14 * patches,
        extra_step_macs=scores,
    )


def tied_embedding() -> ExpectedCosts:
    words, width, tokens = 10_000, 256, 32
    hidden = width * width
    return ExpectedCosts(
        parameters=words * width + hidden + width,
        forward=tokens * (hidden + width * words),
        input_macs=0,
    )


EXPECTED_COSTS = {
    "MLP": perceptron(),
    "two-headed MLP": two_heads(),
    "ResNet-50": resnet50(),
    "MobileNetV2": mobilenet_v2(),
    "DCGAN generator": dcgan_generator(),
    "U-Net": unet(),
    "LSTM": lstm(),
    "GRU": gru(),
    "nn.TransformerEncoder": transformer_encoder(),
    "BERT-base": bert_base(),
    "GPT-2": gpt2(),
    "ViT-B/16": vit_b_16(),
    "tied embedding": tied_embedding(),
}
"""By the names of `catalogue.ZOO`."""
