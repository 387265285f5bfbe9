"""Comparing sets: whether two are the same, which known set one is, what occurs in one twice."""
