"""The generated code of the contract; written by protos/generate.py."""
