"""Runs call graphs on this machine, and keeps them and their results."""
