"""Follow-up studies: they go on from what a study found, with trainings that are planned."""
