"""The command line: `app` is the edge, one module a group of verbs."""
