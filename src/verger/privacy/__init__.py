"""Removal of metadata that describes people from photos."""
