"""What finishes pieces of work: each executor is one file behind the protocol in `base.py`."""
