"""How good the recommendation truly is: tables of finished trainings, replayed and judged.

python -m benchmarks.recommendation --json OUT.json [--table FILE.npz …]
"""
