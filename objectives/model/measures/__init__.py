"""Measures: how the figure of a metric is computed, of a whole split or batch by batch."""
