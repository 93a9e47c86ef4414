"""Photos to read: find, label and partition them, and read their bytes."""
