"""What cannot be resized."""


class ResizeError(Exception):
    """A model that cannot be given other sizes; its message is the reason, as part of a sentence.

    It never reaches a person as an error: discovery reports the group as fixed, with this reason.
    """
