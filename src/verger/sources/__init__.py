"""Sources of photos: find, label and partition them, and read their bytes."""
