"""Loading in processes that are started in other ways than by forking."""

from pathlib import Path

import pytest
from widthwise.objectives.data.load import load_data
from widthwise.objectives.data.streams.source import BatchData
from widthwise.tests.objectives.data.streams.sets import tensors

SPAWNED = """
import torch
from torch.utils.data import DataLoader, Dataset

class Rows(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, row):
        return torch.rand(2) + row, row

def collate(samples):
    return torch.stack([x for x, _ in samples]), torch.tensor([y for _, y in samples])

def load(workers=1):
    loader = DataLoader(
        Rows(), batch_size=3, num_workers=workers, collate_fn=collate,
        multiprocessing_context="spawn" if workers else None,
    )
    return loader, Rows()

def here():
    return load(0)
"""


@pytest.mark.slow
def test_spawned_workers_know_the_users_file_and_draw_the_same(tmp_path: Path) -> None:
    (tmp_path / "rows.py").write_text(SPAWNED)
    spawned, here = (
        load_data(f"rows.py:{name}", base=tmp_path, seed=0) for name in ("load", "here")
    )
    assert isinstance(spawned, BatchData)
    assert isinstance(here, BatchData)
    for one, other in zip(tensors(spawned.train), tensors(here.train), strict=True):
        assert one.tolist() == other.tolist()
