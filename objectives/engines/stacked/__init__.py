"""The stacked engine: candidates padded to one size and trained as one."""
