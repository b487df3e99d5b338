"""`python -m benchmarks NAME`: measure, print a table and, as the last line, one JSON object.

Every other module of this package with `GOALS` and `measure` is a benchmark. Times are never a reason for CI to fail:
goals are ratios against the raw limit, measured in turns in the same run, and only `--strict` turns them into an exit
code.
"""

import argparse
import importlib
import pkgutil
import sys

import anyio

import benchmarks
from benchmarks.harness import judge, show
from mesh.errors import MeshError

_HELPERS = (
    *("__main__", "cold", "family", "first_line", "fold", "harness", "mix", "peers", "trials", "views"),
    *("nanolm_cut", "nanolm_sides"),
    *("search_figures", "search_peers", "search_problems", "search_swarm"),
)


def main() -> int:
    """Parse the command line and run; 0 done, 1 a goal is missed under `--strict`, 2 a mistake in the call."""
    names = benchmarks_by_name()
    args = _parser(names).parse_args()
    if args.name not in names:
        print(f"benchmarks: there is no benchmark {args.name!r}: it is one of {', '.join(names)}", file=sys.stderr)
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
    return sorted({module.name for module in pkgutil.iter_modules(benchmarks.__path__)}.difference(_HELPERS))


def _parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure a part of the mesh against its raw limit.",
        epilog="example: python -m benchmarks log --quick",
    )
    parser.add_argument("name", metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="under a minute, with the same meaning but more noise")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
