"""Augmented views of photos: crops, mirror images, other light."""
