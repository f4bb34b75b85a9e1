"""Measures the report and the dashboard of many trials: seconds, bytes, what a page holds.

python -m benchmarks.report --trials 10000 --json OUT.json
"""
