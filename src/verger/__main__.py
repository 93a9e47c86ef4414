"""python -m verger."""

from verger.cli import main

main()
