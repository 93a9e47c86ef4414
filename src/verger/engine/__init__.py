"""Engines run tasks: `local` in processes on this machine, `spark` on a Spark master.

`base` has the protocol and says how to write a new engine; `choice` chooses the engine of a run.
"""
