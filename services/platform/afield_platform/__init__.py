"""The platform on one host: a supervisor that starts nats-server and the services, and restarts what dies."""
