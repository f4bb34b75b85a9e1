"""The U-Net finds masks that a threshold on the noisy pixels does not."""

from pathlib import Path

import pytest
import torch

from .command import best_trial, load_example, run_example


@pytest.mark.slow
def test_it_segments_better_than_any_threshold(tmp_path: Path) -> None:
    _, validation = load_example("unet").load()
    images, masks = (torch.stack(parts) for parts in zip(*validation, strict=True))

    def overlap(predicted: torch.Tensor) -> float:
        target = masks == 1
        return float((predicted & target).sum() / (predicted | target).sum())

    threshold = max(overlap(images > level) for level in torch.linspace(0, 1.5, 30))
    best = best_trial(run_example("unet", tmp_path))
    assert best["metric"]["name"] == "iou"
    assert best["metric"]["value"] > threshold + 0.05
    iou = best["metric"]["value"]
    assert best["reported"]["dice"] == pytest.approx(2 * iou / (1 + iou))
