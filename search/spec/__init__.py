"""The spec: what a study's TOML file may say, checked."""
