"""Images of a store as batches: which rows, how each is augmented, and the loaders."""
