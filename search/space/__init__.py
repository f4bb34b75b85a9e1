"""The space: widths, their constraints, limits and the feasible set."""
