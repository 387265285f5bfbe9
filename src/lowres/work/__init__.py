"""How work survives: durable files, resumable directories, and executors that run jobs."""
