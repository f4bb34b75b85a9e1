"""Dropout whose masks depend on seed, layer, step and index alone.

torch draws masks from one stream, so that a mask depends on all that was drawn before it: another
engine, or a neighbour in the same stack, would change it. Here every element hashes its own index:

    mask[i, j, …] = hash(… hash(hash(key, i), j) …) ≥ p · 2^31,    key from (seed, layer, step)

A network gets the same masks alone, in a stack, and padded to a larger width.

The hash is a 32-bit finaliser of two multiplications and three shifts; its constants are those of
Chris Wellons' search for low bias ("lowbias32", public domain, nullprogram.com/blog/2018/07/31).

Entry points: `install_keyed_dropout` replaces a model's dropout layers, `with_keyed_dropout` those
of every model of a builder; `set_step` moves them to a training step; `mask_key`, `hash_word` and
`GOLDEN_RATIO` are what another engine needs to make the same masks.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ..data.streams.batch import Batch
from ..interrupt import raise_if_interrupt

_WORD_MASK = 0xFFFFFFFF
_FIRST_MULTIPLIER, _SECOND_MULTIPLIER = 0x7FEB352D, 0x846CA68B
GOLDEN_RATIO = 0x9E3779B9
"""2^32 over the golden ratio: spreads consecutive indices over the whole word."""

_SHARED_AXES: dict[type[nn.Module], int] = {
    nn.Dropout: 0,
    nn.Dropout1d: 1,
    nn.Dropout2d: 2,
    nn.Dropout3d: 3,
}
"""Layers that can be replaced, with the trailing axes that share one draw."""


class KeyedDropout(nn.Module):
    """Dropout by hashed indices.

    Attributes:
        p: Share of zeroed elements.
        shared_axes: Trailing axes that share one draw: 2 for whole channels of images.
        key: int32 scalar; `set_step` gives every step its own.
    """

    key: Tensor

    def __init__(self, p: float, shared_axes: int = 0) -> None:
        super().__init__()
        self.p, self.shared_axes = p, shared_axes
        self.register_buffer("key", torch.zeros((), dtype=torch.int32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, in training with a share p of its elements zeroed and the rest scaled up."""
        if not self.training or self.p == 0:
            return x
        if self.p >= 1:
            return x * 0.0
        return x.masked_fill(self.drop_mask(x), 0.0) * (1 / (1 - self.p))

    def drop_mask(self, x: Tensor) -> Tensor:
        """Return which elements are zeroed: bool, broadcastable to x."""
        # Dropout2d takes [N, C, L] as well, and drops its channels.
        keyed_axes = 2 if self.shared_axes == 2 else x.ndim - self.shared_axes
        hashes = self.key
        for axis, size in enumerate(x.shape[:keyed_axes]):
            offsets = torch.arange(size, dtype=torch.int32, device=x.device) * _as_signed(
                GOLDEN_RATIO
            )
            shape = [size if other == axis else 1 for other in range(x.ndim)]
            hashes = _hash_words(hashes + offsets.view(shape))
        return (hashes & 0x7FFFFFFF) < drop_threshold(self.p)

    def extra_repr(self) -> str:
        """Return the options, as `repr` shows them."""
        return f"p={self.p}"


def drop_threshold(p: float) -> int:
    """Return the bound below which the lower 31 bits of a hash mean that the element is zeroed."""
    return min(round(p * (1 << 31)), _WORD_MASK >> 1)


def mask_key(seed: int, layer: int, step: int) -> int:
    """Return the key of a layer's masks in a step, an int32.

    Args:
        seed: Of the training, 0 to 2**63 - 1.
        layer: Index of the layer among the replaced ones, in the order of `named_modules`.
        step: Update, from 0.
    """
    word = hash_word((seed & _WORD_MASK) ^ hash_word(seed >> 32))
    word = hash_word(word + layer * GOLDEN_RATIO)
    return _as_signed(hash_word(word + step * GOLDEN_RATIO))


def hash_word(word: int) -> int:
    """Return the hash of a 32-bit word."""
    word &= _WORD_MASK
    word = ((word ^ (word >> 16)) * _FIRST_MULTIPLIER) & _WORD_MASK
    word = ((word ^ (word >> 15)) * _SECOND_MULTIPLIER) & _WORD_MASK
    return word ^ (word >> 16)


def install_keyed_dropout(model: nn.Module, names: Iterable[str]) -> None:
    """Replace the dropout layers of these names by keyed ones, in place."""
    for name in names:
        parent, _, child = name.rpartition(".")
        old = model.get_submodule(name)
        new = KeyedDropout(float(old.p), _SHARED_AXES[type(old)])  # type: ignore[arg-type]
        new.train(old.training)
        setattr(model.get_submodule(parent), child, new)


def with_keyed_dropout(
    build: Callable[..., nn.Module], sample: Callable[[int], Batch]
) -> Callable[..., nn.Module]:
    """Return a builder of the same models with keyed dropout, as they are trained.

    Keyed masks take other memory than torch's: less in float32, more in bfloat16.

    Args:
        build: Returns a fresh model.
        sample: Returns as many rows as asked for, which the model can be called with.
    """
    names_by_modules: dict[tuple[str, ...], tuple[str, ...]] = {}

    def build_keyed(*arguments: Any) -> nn.Module:
        model = build(*arguments)
        if isinstance(model, nn.Module):
            modules = tuple(name for name, _ in model.named_modules())
            if modules not in names_by_modules:
                names_by_modules[modules] = swappable_layers(model, sample(2))
            install_keyed_dropout(model, names_by_modules[modules])
        return model

    return build_keyed


def keyed_layers(model: nn.Module) -> list[KeyedDropout]:
    """Return a model's keyed layers in their order."""
    return [module for module in model.modules() if isinstance(module, KeyedDropout)]


def set_step(keyed_modules: Iterable[KeyedDropout], seed: int, step: int) -> None:
    """Set every layer's key to that of a training step."""
    for layer, module in enumerate(keyed_modules):
        module.key.fill_(mask_key(seed, layer, step))


def swappable_layers(model: nn.Module, batch: Batch) -> tuple[str, ...]:
    """Return the names of the dropout layers that may be keyed: those called once a forward pass.

    A layer that is called twice would drop the same elements both times. The calls are counted on a
    copy, with two rows, so that neither weights nor statistics change; a model that cannot take
    them keeps its layers.

    Args:
        model: As built.
        batch: On the model's device.
    """
    names = [
        name for name, module in model.named_modules() if type(module) in _SHARED_AXES and name
    ]
    if not names:
        return ()
    calls = dict.fromkeys(names, 0)

    def count_calls_of(name: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            calls[name] += 1

        return count

    try:
        model_copy = deepcopy(model).train()
        for name in names:
            model_copy.get_submodule(name).register_forward_hook(count_calls_of(name))
        with torch.no_grad():
            batch.select(slice(0, 2)).call(model_copy)
    except BaseException as error:  # the training itself reports what is wrong
        raise_if_interrupt(error)
        return ()
    return tuple(name for name in names if calls[name] == 1)


def _hash_words(words: Tensor) -> Tensor:
    """Return the hash of every int32, as a new tensor."""
    words = words ^ _logical_right_shift(words, 16)
    words = words.mul_(_FIRST_MULTIPLIER)
    words = words.bitwise_xor_(_logical_right_shift(words, 15)).mul_(_as_signed(_SECOND_MULTIPLIER))
    return words.bitwise_xor_(_logical_right_shift(words, 16))


def _logical_right_shift(words: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros instead of the sign."""
    return (words >> bits).bitwise_and_((1 << (32 - bits)) - 1)


def _as_signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word
