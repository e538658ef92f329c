"""What a person does in a terminal beside releases: housekeeping, pins, erasing a customer."""
