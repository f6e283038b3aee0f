"""The service: gRPC, jobs, command line. The only place that knows the kernel, the storage and the contract."""
