"""Import of prices, instruments, portfolios, holdings, benchmarks and factor returns from CSV, Parquet and JSON files.

A load is all or nothing: every bad row is reported with its place, and then nothing of it is stored.
"""
