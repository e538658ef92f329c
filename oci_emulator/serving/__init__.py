"""Model serving: unpacked artifacts, the servers that run them and the way of a request to them."""
