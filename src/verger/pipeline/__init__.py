"""The chain, stage by stage: READ `run` FIRST."""
