"""The stages of a run, in order: READ `chain` FIRST."""
