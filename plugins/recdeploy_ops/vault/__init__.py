"""Connections, variables and options of Airflow from OCI Vault."""
