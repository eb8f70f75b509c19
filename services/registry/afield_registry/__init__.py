"""The registry: the truth about apps and functions."""
