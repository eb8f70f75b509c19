"""What else calls functions elsewhere, measured beside afield: `make bench-peers`."""
