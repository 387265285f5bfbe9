"""Whether two sets are the same, and which known set one is."""
