"""Data: read, recognised, split, encoded and fed in batches."""
