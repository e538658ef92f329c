"""Monitoring: metrics that were posted or measured, and alarms."""
