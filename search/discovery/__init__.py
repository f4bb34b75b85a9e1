"""A study of a model that exists: its widths discovered, their ranges, and the spec for them."""
