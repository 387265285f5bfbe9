"""Hyperparameter search: many configurations at the smallest size, the best at larger sizes."""
