"""The family `transformer`: what it computes, by torch's own layer, and what its widths mean."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn
from widthwise.objectives.model.families.transformer import Block, build_transformer


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def decoder(widths: Mapping[str, int], **options: str) -> nn.Module:
    return build_transformer(
        widths, input_shape=(6,), outputs=11, vocabulary=11, per_step=True, **options
    ).eval()


def test_an_encoder_has_the_parameters_of_its_widths() -> None:
    widths = {"d_model": 8, "heads": 2, "d_ff": 20, "depth": 3}
    model = build_transformer(widths, input_shape=(5, 7), outputs=4)
    block = (8 * 24 + 24) + (8 * 8 + 8) + (8 * 20 + 20) + (20 * 8 + 8) + 4 * 8
    assert parameters(model) == (7 * 8 + 8) + 5 * 8 + 3 * block + 2 * 8 + (8 * 4 + 4)
    assert model(torch.randn(3, 5, 7)).shape == (3, 4)


@pytest.mark.parametrize("causal", [True, False])
def test_a_block_is_torchs_own_encoder_layer(causal: bool) -> None:
    """At heads of 16, where the scores are scaled as usual."""
    block = Block(32, 2, 48, "gelu", 0.0, causal=causal).eval()
    layer = nn.TransformerEncoderLayer(
        32, 2, 48, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    layer.self_attn.in_proj_weight = block.project.weight
    layer.self_attn.in_proj_bias = block.project.bias
    layer.self_attn.out_proj = block.merge
    layer.linear1, layer.linear2 = block.expand, block.contract
    layer.norm1, layer.norm2 = block.attention_norm, block.forward_norm
    x = torch.randn(2, 5, 32)
    mask = nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    torch.testing.assert_close(block(x), layer(x, src_mask=mask), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sees_the_future"), [({}, False), ({"attention": "full"}, True)]
)
def test_a_step_of_a_decoder_sees_the_past_only(
    options: dict[str, str], sees_the_future: bool
) -> None:
    model = decoder({"d_model": 16, "d_ff": 16}, **options)
    tokens = torch.randint(11, (2, 6))
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 11
    before, after = model(tokens), model(changed)
    assert before.shape == (2, 11, 6)
    assert torch.equal(before[..., :4], after[..., :4]) != sees_the_future
    assert not torch.equal(before[..., 4:], after[..., 4:])


def test_numbered_widths_are_the_blocks_and_0_is_none() -> None:
    present = decoder({"d_model": 8, "d_ff1": 12, "d_ff2": 20})
    absent = decoder({"d_model": 8, "d_ff1": 12, "d_ff2": 0, "d_ff3": 20})
    shapes = [(name, parameter.shape) for name, parameter in present.named_parameters()]
    assert shapes == [(name, parameter.shape) for name, parameter in absent.named_parameters()]
    assert [block.expand.out_features for block in present.blocks] == [12, 20]


@pytest.mark.parametrize(("d_model", "heads"), [(16, 4), (6, 2), (5, 1)])
def test_heads_divide_d_model_where_no_width_says_how_many(d_model: int, heads: int) -> None:
    model = decoder({"d_model": d_model})
    assert [block.heads for block in model.blocks] == [heads, heads]


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="d_model 10 is not divisible by 4 heads"):
        decoder({"d_model": 10, "heads": 4})
