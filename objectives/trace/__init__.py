"""Traces: operators and live bytes of one step, without allocating the model."""
