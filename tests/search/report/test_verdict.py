"""The verdict's words are fixed: scripts read them from `report.json`."""

from widthwise.search.report.verdict import Verdict


def test_words_are_those_that_scripts_rely_on():
    assert [str(verdict) for verdict in Verdict] == [
        "gain",
        "no gain",
        "smallest sufficient",
        "undecided",
        "not trained",
        "target missed",
        "no trials",
    ]
