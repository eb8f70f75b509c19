"""What afield costs: `make bench` runs everything here, prints a table and stores `build/bench.json`."""
