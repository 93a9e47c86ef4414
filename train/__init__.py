"""The training recipe of `fruitnet`, the bundled network: see README.md in this folder."""
