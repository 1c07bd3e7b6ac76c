"""`python -m ravnet`: the command line."""

from .cli import app

app(prog_name="ravnet")
