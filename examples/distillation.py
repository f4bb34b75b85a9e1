# A training of one's own: a small network learns from a large one's answers (Hinton et al., 2015),
# and keeps checkpoints of its own, from which an interrupted trial goes on.
# `widthwise run examples/distillation.toml` finds the smallest student that is good enough.
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

TEMPERATURE, BATCH = 3.0, 64


@cache
def digits():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    return x[:1200], y[:1200], x[1200:], y[1200:]


@cache
def teacher():
    """Train the large network, once in each worker."""
    torch.manual_seed(0)
    x, y, *_ = digits()
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


def build(widths):
    return nn.Sequential(
        nn.Linear(64, widths["hidden"]), nn.ReLU(), nn.Linear(widths["hidden"], 10)
    )


def train(widths, trial):
    x, _, x_held_out, y_held_out = (tensor.to(trial.device) for tensor in digits())
    large = teacher().to(trial.device)
    with torch.no_grad():
        soft = functional.softmax(large(x) / TEMPERATURE, dim=1)
    torch.manual_seed(trial.seed)
    student = build(widths).to(trial.device)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    checkpoint, epoch = trial.folder / "student.pt", 0
    if checkpoint.exists():  # this very trial was interrupted
        epoch, model_state, optimizer_state = torch.load(checkpoint)
        student.load_state_dict(model_state)
        optimizer.load_state_dict(optimizer_state)
    while epoch < trial.epochs:
        # The order follows from seed and epoch: a resumed training ends as if never interrupted.
        order = torch.Generator().manual_seed(trial.seed + epoch)
        for rows in torch.randperm(len(x), generator=order).split(BATCH):
            optimizer.zero_grad()
            answers = functional.log_softmax(student(x[rows]) / TEMPERATURE, dim=1)
            functional.kl_div(answers, soft[rows], reduction="batchmean").backward()
            optimizer.step()
        epoch += 1
        with torch.no_grad():
            accuracy = (student(x_held_out).argmax(1) == y_held_out).float().mean().item()
        torch.save((epoch, student.state_dict(), optimizer.state_dict()), checkpoint)
        yield {"accuracy": accuracy, "step": epoch}
