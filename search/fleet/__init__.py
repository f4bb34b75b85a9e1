"""Fleets: worker processes on this machine or where Ray puts them."""
