"""Trials: from a claimed slot to its recorded outcome."""
