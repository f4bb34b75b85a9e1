"""Loading in processes that are started in other ways than by forking, and in little memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
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


# --- memory ---------------------------------------------------------------------------------------

UNDER_A_CAP = """
import resource, sys
from pathlib import Path
import numpy as np
from torch.utils.data import DataLoader
from widthwise.tests.objectives.data.streams.sets import MappedFile, read

path, rows, width, cap, workers = Path(sys.argv[1]), *map(int, sys.argv[2:])
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + cap, resource.RLIM_INFINITY))
try:
    np.fromfile(path, dtype=np.float32)
except MemoryError:
    print("does not fit")
loader = DataLoader(MappedFile(path, rows, width), batch_size=16, num_workers=workers)
data = read((loader, loader))
total, seen = 0.0, 0
for batch in data.train.batches(0, 0):
    total += batch.args[0][:, 0].double().sum().item()
    seen += batch.rows
print(seen, total)
"""
CAP, ROWS, WIDTH = 64 << 20, 2_560, 65_536  # bytes; rows of 256 KiB


@pytest.mark.parametrize("workers", [0, 2])
def test_data_of_ten_times_the_memory_pass_under_its_cap(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "rows.bin"
    with path.open("wb") as file:
        file.truncate(10 * CAP)
        for row in range(ROWS):
            file.seek(4 * WIDTH * row)
            file.write(np.float32(row).tobytes())
    assert path.stat().st_size == 4 * WIDTH * ROWS == 10 * CAP
    arguments = map(str, (path, ROWS, WIDTH, CAP, workers))
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_CAP, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        check=False,
    )
    assert done.stdout.splitlines() == [
        "does not fit",
        f"{ROWS} {float(sum(range(ROWS)))}",
    ], done.stderr
