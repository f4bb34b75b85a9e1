"""Trackers: MLflow, TensorBoard and Weights & Biases, told of every trial while it runs."""
