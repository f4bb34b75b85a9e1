"""The family `lstm`: what it computes, by torch's own stacked layer, and what its widths mean."""

import torch
from torch import nn
from widthwise.objectives.model.families.recurrent import build_lstm


def test_layers_of_one_size_are_torchs_stacked_lstm() -> None:
    model = build_lstm({"hidden": 6, "depth": 2}, input_shape=(5, 3), outputs=4)
    stacked = nn.LSTM(6, 6, num_layers=2, batch_first=True)
    for number, layer in enumerate(model.layers):
        for name, parameter in layer.named_parameters():
            setattr(stacked, name.replace("l0", f"l{number}"), nn.Parameter(parameter.detach()))
    x = torch.randn(2, 5, 3)
    expected = model.head(stacked(model.inputs.layer(x))[0][:, -1])
    torch.testing.assert_close(model(x), expected)


def test_numbered_widths_are_the_layers_and_0_is_none() -> None:
    model = build_lstm(
        {"hidden1": 4, "hidden2": 0, "hidden3": 9}, input_shape=(5,), outputs=2, dropout=0.1
    )
    assert [(layer.input_size, layer.hidden_size) for layer in model.layers] == [(4, 4), (4, 9)]
    assert model(torch.randn(3, 5)).shape == (3, 2)


def test_each_step_of_tokens_is_answered_from_the_past() -> None:
    model = build_lstm({"hidden": 6}, input_shape=(5,), outputs=7, vocabulary=7, per_step=True)
    tokens = torch.randint(7, (2, 5))
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 7
    before, after = model(tokens), model(changed)
    assert before.shape == (2, 7, 5)
    assert torch.equal(before[..., :3], after[..., :3])
    assert not torch.equal(before[..., 3:], after[..., 3:])
