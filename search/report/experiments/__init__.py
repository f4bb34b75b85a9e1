"""Experiments of one change at a time: the controlled table, shares of the rows, refining."""
