"""Hyperparameter search with resolution as the cheap fidelity."""
