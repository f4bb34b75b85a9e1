"""Equations between a model's sizes: met in a symbolic forward pass, and solved."""
