"""One program for each peer. It runs in an environment without afield, so all but two use the standard library alone."""
