"""Columns of text, as they stand in a file, become numbers, dates, true/false or words."""
