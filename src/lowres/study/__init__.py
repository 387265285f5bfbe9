"""Studies: axes over recipe fields become runs, an executor finishes them, verdicts follow."""
