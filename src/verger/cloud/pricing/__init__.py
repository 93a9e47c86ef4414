"""Prices, bills and estimates: what a run will cost."""
