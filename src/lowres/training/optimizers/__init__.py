"""Optimizers behind one small protocol."""
