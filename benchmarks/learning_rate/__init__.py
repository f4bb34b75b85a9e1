"""Where the best learning rate lies at each width, in the standard parametrisation and in muP.

python -m benchmarks.learning_rate --json OUT.json [--quick]
"""
