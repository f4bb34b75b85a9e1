"""Is a DNA sequence rich in G and C? Lengths differ, and a batch is padded to its longest."""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

BASES = 4


def sequences(count, seed):
    """Return sequences of 8 to 40 bases (numbers 0 to 3) with the class: mostly 2 and 3, or not."""
    draw = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(count):
        length = int(torch.randint(8, 41, (), generator=draw))
        is_rich = torch.rand((), generator=draw) < torch.rand(length, generator=draw)
        bases = torch.randint(2, (length,), generator=draw) + 2 * is_rich.long()
        samples.append((bases, int(is_rich.double().mean() > 0.5)))
    return samples


def collate(samples):
    """Pad the sequences of a batch; the mask is true where there is a base."""
    bases = pad_sequence([sequence for sequence, _ in samples], batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence, _ in samples])
    mask = torch.arange(bases.shape[1]) < lengths[:, None]
    return {"bases": bases, "mask": mask, "labels": torch.tensor([label for _, label in samples])}


def load():
    options = {"batch_size": 50, "collate_fn": collate}
    return (
        DataLoader(sequences(1000, seed=0), shuffle=True, **options),
        DataLoader(sequences(500, seed=1), **options),
    )


class Classifier(nn.Module):
    def __init__(self, embedding, hidden):
        super().__init__()
        self.embedding = nn.Embedding(BASES, embedding)
        self.head = nn.Sequential(nn.Linear(embedding, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, bases, mask):
        known = mask.unsqueeze(-1).float()
        mean = (self.embedding(bases) * known).sum(dim=1) / known.sum(dim=1)
        return self.head(mean)


def build(widths):
    return Classifier(widths["embedding"], widths["hidden"])
