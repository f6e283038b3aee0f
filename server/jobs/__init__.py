"""Work that outlives a call: the queue, the worker, and what brings a stalled job back."""
