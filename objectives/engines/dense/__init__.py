"""The dense engine: perceptrons in compiled code of exact width."""
