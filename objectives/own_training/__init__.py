"""Trainings of the user's own: what they are given, what they report, what comes of them."""
