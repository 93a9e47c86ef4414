"""Prices and bills: what a run costs, before it runs."""
