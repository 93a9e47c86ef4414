"""Name fruit: train and evaluate a classifier on features, and use it without Spark."""
