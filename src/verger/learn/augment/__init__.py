"""Views of photos as they might also have been taken."""
