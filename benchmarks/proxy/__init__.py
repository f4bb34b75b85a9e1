"""How fast the engines train proxies, what a search by them costs, and how honest proxies are.

python -m benchmarks.proxy --json OUT.json [--quick] [--device cuda]
python -m benchmarks.proxy --search-cost --honesty --search-json OUT.json
"""
