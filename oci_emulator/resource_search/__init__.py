"""Resource Search: resources found by a query."""
