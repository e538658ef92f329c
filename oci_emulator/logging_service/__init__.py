"""Logging: log groups and their logs; no log has entries."""
