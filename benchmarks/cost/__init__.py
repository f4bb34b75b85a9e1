"""How exact and how fast costs are known before training, beside what other counters say.

python -m benchmarks.cost --json OUT.json [--quick]
"""
