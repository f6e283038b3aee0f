"""What runs in solver processes: pure functions from frozen inputs to frozen answers, and the pool that runs them."""
