"""The web pages that `bench`, `compare` and `serve` show in a browser. A page loads nothing else."""
