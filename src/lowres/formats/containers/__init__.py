"""Readers of files that may be hostile: tar, zip, pickle, shards, tables, and files on a server."""
