"""Models: what is trained, its losses and its metrics."""
