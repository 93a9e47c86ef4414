"""Removal of metadata from photos, such as place, time and camera."""
