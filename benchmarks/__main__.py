"""`python -m benchmarks NAME [PART...] [--quick]`: print one benchmark's tables."""

from __future__ import annotations

import argparse
import importlib

NAMES = ("core", "conv_net", "resnet", "train")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("only", nargs="*", metavar="PART", help="of train: nets, such as mlp and gpt; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and smaller sizes")
    arguments = parser.parse_args()
    run = importlib.import_module(f"benchmarks.{arguments.name}").main
    run(quick=arguments.quick, **({"only": arguments.only} if arguments.only else {}))


main()
