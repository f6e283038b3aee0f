"""What the calls do, in the order of their steps: check, load, compute, store. Nothing here knows of gRPC contexts."""
