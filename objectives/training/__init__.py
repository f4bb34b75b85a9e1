"""Training: steps, optimizers, evaluation, snapshots and checkpoints of one model."""
