"""Whether a default search of twelve small public tables ends nowhere behind a linear model."""
