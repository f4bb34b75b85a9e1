"""Hyperparameters that stay right at every width: muP where it applies, else the standard way.

`standard` has what training asks of a parametrisation, and the null one; `mup` derives muP from a
few builds of a model; `coordinates` checks on real steps that nothing grows with the width.
"""
