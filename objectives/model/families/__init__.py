"""Families: built-in networks whose layers have the widths of the candidate; one module a kind."""
