"""Model serving: unpacks artifacts, runs their servers and passes requests on to them."""
