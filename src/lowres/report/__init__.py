"""Reports: numbers from runs (tables), figures from numbers (plots), one page from both (page)."""
