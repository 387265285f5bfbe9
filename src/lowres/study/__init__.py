"""Studies: axes over recipe fields become runs, and an executor finishes the runs."""
