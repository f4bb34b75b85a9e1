"""The recommendation: the candidate to take, drawn from the surrogate over all feasible ones."""
