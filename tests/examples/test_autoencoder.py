"""The autoencoder restores images better than their mean, and the search wants a small one."""

from pathlib import Path

import pytest

from .command import load_example, run_example


@pytest.mark.slow
def test_it_restores_images_better_than_their_mean(tmp_path: Path) -> None:
    train, validation = load_example("autoencoder").load()
    constant = float((validation.images - train.images.mean(dim=0)).square().mean())
    report = run_example("autoencoder", tmp_path)
    assert report["metric"] == {"name": "loss", "direction": "minimize"}
    assert report["best"]["metric"]["value"] < 0.7 * constant
    assert report["goal"] == "smallest"
