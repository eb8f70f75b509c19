"""The scheduler: how many containers a function has, and where they run."""
