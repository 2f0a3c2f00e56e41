"""The workload generator, the oracle and publishing."""
