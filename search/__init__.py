"""Search tells the story: spec, space, limits, sampler, workers, recommendation, command line."""
