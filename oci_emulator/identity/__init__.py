"""Identity: the tags that a compartment requires."""
