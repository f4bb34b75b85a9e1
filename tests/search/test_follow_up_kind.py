"""Names of follow-up studies, and the commands that go on with them."""

import pytest
from widthwise.search.follow_up_kind import (
    FollowUpKind,
    continue_command,
    follow_up_name,
    followed_name,
)


@pytest.mark.parametrize("parent", ["digits", "team/digits", "a/confirmation", "two words"])
@pytest.mark.parametrize("kind", FollowUpKind)
@pytest.mark.parametrize("detail", ["", "d_model"])
def test_the_name_tells_what_is_followed_up(parent, kind, detail):
    assert followed_name(follow_up_name(parent, kind, detail), kind) == parent


@pytest.mark.parametrize(
    ("kind", "detail", "command"),
    [
        (FollowUpKind.CONFIRMATION, "", "widthwise confirm 'my digits'"),
        (FollowUpKind.SWEEP, "d_model", "widthwise sweep 'my digits' --width d_model"),
        (FollowUpKind.REFINEMENT, "", "widthwise refine 'my digits'"),
        (FollowUpKind.TRAINING, "", "widthwise train 'my digits'"),
        (FollowUpKind.LEARNING_CURVE, "", "widthwise sweep 'my digits' --rows auto"),
    ],
)
def test_the_command_that_goes_on_names_the_study_of_its_own(kind, detail, command):
    assert continue_command(follow_up_name("my digits", kind, detail), kind) == command


def test_a_study_of_its_own_is_resumed():
    assert continue_command("digits", None) == "widthwise resume digits"
