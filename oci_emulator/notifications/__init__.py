"""Notifications: topics, and the messages that were published to them."""
