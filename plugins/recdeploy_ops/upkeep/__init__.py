"""What a person does in a terminal beside releases: freezes, verification, housekeeping, pins, erasing a customer."""
