"""The worker: owns the containers of one host, pulls their inputs, stores their results."""
