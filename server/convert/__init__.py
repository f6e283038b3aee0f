"""Protobuf messages to checked dataclasses and back, both directions beside each other."""
