"""The chain of a run, stage by stage: READ `chain` FIRST."""
