"""Rules of thumb against a study: how each did, and what the study says of common beliefs."""
