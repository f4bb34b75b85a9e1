"""Polynomials of the widths, fitted in whole numbers."""
