"""Branches: what a builder asks of its widths, and the parts of a space where it goes one way."""
