"""Bundled networks and classifiers; docs/model-card.md describes them."""
