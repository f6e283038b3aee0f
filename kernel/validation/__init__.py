"""Walk-forward validation: decisions made with what was known, judged by what came after."""
