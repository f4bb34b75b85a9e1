"""The problem of a study: spec, data, costs and device put together."""
