"""Stores: the arrays on disk, which are made, opened, extended, exported and published."""
