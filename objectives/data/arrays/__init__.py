"""Samples and targets in arrays: images, sequences, masks, and whatever a function returns."""
