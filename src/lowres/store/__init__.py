"""The arrays on disk: made, opened, exported."""
