"""What every service stands on: settings, log, assets, request endpoints, the service base."""

VERSION = "0.1.0"
"""Version of the services, as `nats micro ls` shows it."""
