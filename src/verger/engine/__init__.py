"""Engines run tasks: `local` in processes on this machine, `spark` on a Spark master.

What a run does is the same code for both; see `base` for the protocol, `choice` for which engine a run gets.
"""
