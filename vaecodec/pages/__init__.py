"""Web pages: what `bench`, `compare` and `serve` show in a browser. A page loads nothing."""
