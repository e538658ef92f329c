"""Limits: how much of a service limit is left."""
