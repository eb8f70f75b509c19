"""Ways to make a container; each is a Runner of `base`."""
