"""HTTP in, calls out: the platform for callers that do not speak Python."""
