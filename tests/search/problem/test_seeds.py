"""A trial's seed: the same for every worker, another for every trial and study."""

from widthwise.search.problem.seeds import trial_seed


def test_seeds_are_distinct_repeatable_and_storable() -> None:
    seeds = [trial_seed(study, number) for study in range(20) for number in range(50)]
    assert seeds == [trial_seed(study, number) for study in range(20) for number in range(50)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
