"""How fast trials are recorded, beside stock Optuna on the same kind of database.

python -m benchmarks.store --json OUT.json [--quick]
"""
