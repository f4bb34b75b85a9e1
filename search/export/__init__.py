"""A study's network brought home: its widths, the code that builds it, and its weights."""
