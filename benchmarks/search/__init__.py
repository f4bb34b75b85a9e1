"""Replays a table of finished trainings through samplers: regret, waste and seconds per proposal.

python -m benchmarks.search --table FILE.npz --metric accuracy --cost flops --percentile 25 \
        --seeds 20 --trials 60 --samplers widthwise,tpe-constrained,random --json OUT.json
"""
