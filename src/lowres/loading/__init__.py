"""Loading: the images of a store as batches, shuffled, augmented and normalised."""
