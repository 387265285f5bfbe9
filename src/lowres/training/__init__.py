"""Training a run: device, schedule, evaluation, checkpoint, and the loop that joins them."""
