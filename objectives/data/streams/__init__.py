"""Data in batches: from torch's data sets and loaders, and samples of several tensors."""
