"""Reports: progress, status, recommendation and summary of a study."""
