"""Costs: exact figures of a width vector, counted before training."""
