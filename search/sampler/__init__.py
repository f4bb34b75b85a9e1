"""The sampler: Bayesian optimisation over the feasible candidates."""
