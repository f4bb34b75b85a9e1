"""How exact predicted memory is, beside what torch's allocator really held.

python -m benchmarks.memory --json OUT.json [--only WORD]
"""
