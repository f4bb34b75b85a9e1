"""Handwritten digits, squeezed through a few numbers and restored."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Dataset


class Images(Dataset):
    """Samples without a target."""

    def __init__(self, rows):
        self.images = torch.tensor(load_digits().data[rows], dtype=torch.float32) / 16

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def load():
    return Images(slice(0, 1000)), Images(slice(1000, 1400))


def reconstruction(output, batch):
    return nn.functional.mse_loss(output, batch)


def build(widths):
    hidden, code = widths["hidden"], widths["code"]
    return nn.Sequential(
        nn.Linear(64, hidden),
        nn.ReLU(),
        nn.Linear(hidden, code),
        nn.Linear(code, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 64),
        nn.Sigmoid(),
    )
