"""The diagnosis: what holds a study's networks back, layer by layer and as a whole."""
