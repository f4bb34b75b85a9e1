"""Objectives know torch: models, data, costs and the proxy training of one candidate."""
