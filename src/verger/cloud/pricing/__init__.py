"""Prices, bills and estimates of what a run will cost."""
