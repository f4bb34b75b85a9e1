"""Discovery: the widths of an existing module, found without editing it."""
