"""`python -m benchmarks NAME [--quick]`: print one benchmark's table."""

from __future__ import annotations

import argparse
import importlib

NAMES = ("core", "conv_net")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and smaller sizes")
    arguments = parser.parse_args()
    importlib.import_module(f"benchmarks.{arguments.name}").main(quick=arguments.quick)


main()
