"""Data Science: projects, models, model version sets, model deployments and their work requests."""
