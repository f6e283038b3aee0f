"""Methods: from a problem to a certified solution."""
