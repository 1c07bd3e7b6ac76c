"""Runs scripts that were written for Raven's libraries: `python -m ravnet.compat SCRIPT.py [ARGS]`."""
