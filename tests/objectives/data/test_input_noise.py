"""Input noise: of the stated scale, from seed and step alone."""

from __future__ import annotations

import torch
from widthwise.objectives.data.input_noise import add_noise, input_scale


def test_the_scale_is_each_columns_of_a_table_and_one_for_an_image() -> None:
    table = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1, 5, 0]
    )
    torch.testing.assert_close(input_scale(table), table.std(dim=0, correction=0))
    images = table.view(200, 1, 3)
    torch.testing.assert_close(input_scale(images), table.std(correction=0))


def test_the_noise_has_the_scale_asked_for_and_leaves_the_batch_as_it_was() -> None:
    inputs = torch.full((4000, 2), 3.0, dtype=torch.float64)
    noise = add_noise(inputs, torch.tensor([0.5, 2.0]), seed=1, step=0) - 3.0
    # The standard error of a standard deviation from n normal numbers is s / sqrt(2 n).
    torch.testing.assert_close(
        noise.std(dim=0) / torch.tensor([0.5, 2.0]).double(),
        torch.ones(2).double(),
        atol=4 / 8000**0.5,
        rtol=0,
    )
    assert float(noise.mean(dim=0).abs().max()) < 4 * 2.0 / 4000**0.5
    assert bool((inputs == 3.0).all())


def test_it_follows_from_seed_and_step_alone() -> None:
    inputs, scale = torch.zeros(5, 2), torch.tensor(1.0)
    state = torch.get_rng_state()
    first = add_noise(inputs, scale, seed=2**63 - 1, step=7)
    assert torch.equal(first, add_noise(inputs, scale, seed=2**63 - 1, step=7))
    assert not torch.equal(first, add_noise(inputs, scale, seed=2**63 - 1, step=8))
    assert not torch.equal(first, add_noise(inputs, scale, seed=1, step=7))
    assert torch.equal(state, torch.get_rng_state())
