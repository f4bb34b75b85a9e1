"""Figures: what a study has found, drawn as SVG and PNG."""
