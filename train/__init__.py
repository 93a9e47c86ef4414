"""The recipe of `fruitnet`, the network that ships with verger: see README.md in this folder."""
