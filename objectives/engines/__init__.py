"""Engines: ways to train several networks side by side, equal in result."""
