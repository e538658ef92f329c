"""Vault: secrets and their versions, and what is read from them."""
