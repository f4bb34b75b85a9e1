"""Handwritten digits as images, shifted by a pixel at random, from loaders with two workers."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, rows, augment):
        digits = load_digits()
        self.images = torch.tensor(digits.images[rows], dtype=torch.float32)[:, None] / 16
        self.labels = torch.tensor(digits.target[rows])
        self.augment = augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augment:
            rows, columns = torch.randint(-1, 2, (2,)).tolist()
            image = image.roll((rows, columns), dims=(1, 2))
        return image, self.labels[index]


def load():
    train = Digits(slice(0, 1200), augment=True)
    validation, test = Digits(slice(1200, 1500), augment=False), Digits(slice(1500, None), False)
    return {
        "train": DataLoader(train, batch_size=48, shuffle=True, num_workers=2),
        "val": DataLoader(validation, batch_size=300),
        "test": DataLoader(test, batch_size=300),
    }


def build(widths):
    return nn.Sequential(
        nn.Conv2d(1, widths["block1"], 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(widths["block1"], widths["block2"], 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * widths["block2"], 10),
    )
