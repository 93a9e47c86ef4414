"""Augmented views of photos: crops, mirror images, changed light."""
