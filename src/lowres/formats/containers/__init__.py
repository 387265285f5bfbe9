"""Reading files that may be hostile: tar, zip, pickle, npz, shards, streams."""
