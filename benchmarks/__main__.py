"""`python -m benchmarks NAME`: measure, print a table and, as the last line, one JSON object.

Every other module of this package is a benchmark: it has `GOALS` and `measure`. CI never fails because of a time: goals
are ratios to a raw limit that is measured in turns in the same run, and only `--strict` makes a missed goal an error.
"""

import argparse
import importlib
import pkgutil
import sys

import anyio

import benchmarks
from benchmarks.parts.harness import judge, show
from mesh.errors import MeshError


def main() -> int:
    """Run; return 0, 1 where a goal is missed under `--strict`, or 2 where the benchmark cannot be measured."""
    names = benchmarks_by_name()
    args = _parser(names).parse_args()
    if args.name not in names:
        print(f"benchmarks: NAME is {args.name!r}; use one of {', '.join(names)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"benchmarks.{args.name}")
    try:
        figures = anyio.run(module.measure, args.quick)
    except MeshError as error:
        print(f"benchmarks: {args.name} could not be measured: {error}", file=sys.stderr)
        return 2
    result = judge(args.name, figures, module.GOALS)
    show(result)
    return int(args.strict and not result.holds)


def benchmarks_by_name() -> list[str]:
    """Return the names of the benchmarks, sorted."""
    modules = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg]
    return sorted(name for name in modules if name != "__main__")


def _parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure a part of the mesh against its raw limit, and print a table and a line of JSON.",
        epilog="example: python -m benchmarks log --quick",
    )
    parser.add_argument("name", metavar="NAME", help=f"Measure this: {', '.join(names)}.")
    parser.add_argument(
        "--quick", action="store_true", help="Measure for less than a minute: the same figures with more noise."
    )
    parser.add_argument("--strict", action="store_true", help="Exit with 1 where a goal is missed.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
