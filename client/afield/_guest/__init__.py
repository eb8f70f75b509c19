"""What runs inside a container: the fork server, the link to the worker, the loops that run user code."""
