"""One script for whoever has a GPU: predicted memory, engines and utilisation.

python -m benchmarks.gpu --json OUT.json

Where there is no GPU it says so and ends with exit code 2; `--device cpu` runs the same parts there
on tiny sizes, which says nothing about a GPU.
"""
