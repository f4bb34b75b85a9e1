"""A trial's seed: the same for every worker, another for every trial and study."""

from widthwise.search.problem.seeds import confirmation_seed, trial_seed


def test_seeds_are_distinct_repeatable_and_storable() -> None:
    seeds = [trial_seed(study, number) for study in range(20) for number in range(50)]
    assert seeds == [trial_seed(study, number) for study in range(20) for number in range(50)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_confirmation_seeds_are_fresh():
    trials = {trial_seed(7, number) for number in range(200)}
    fresh = [confirmation_seed(7, index) for index in range(200)]
    assert len(set(fresh)) == 200
    assert not trials & set(fresh)
    assert fresh[:3] == [confirmation_seed(7, index) for index in range(3)]
