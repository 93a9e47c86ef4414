"""Networks and classifiers that ship with verger; docs/model-card.md tells what they are."""
