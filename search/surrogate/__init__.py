"""Surrogates: regression models averaged by their evidence."""
