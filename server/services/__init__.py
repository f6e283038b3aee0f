"""One class per gRPC service. A handler converts, loads, computes, stores and converts; nothing else."""
