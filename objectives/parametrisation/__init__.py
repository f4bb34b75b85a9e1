"""Hyperparameters that stay right at every width: muP where it applies, else the standard way.

`standard` has the interface of a parametrisation, and the one that changes nothing; `mup` derives
muP from a few builds of a model; `coordinate_check` checks on real steps that nothing grows with
the width.
"""
