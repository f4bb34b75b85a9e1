"""The verbs about models and data, without a study: check them, count what they cost."""
