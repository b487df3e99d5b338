"""Tries every attack of one step, inside of a trial: `python probes.zip TARGETS RESULTS`.

Each runs in a process of its own, which may be killed for it. The results are a JSON object: by name `open`, `blocked`
or `not applicable`, and what the system said.
"""

import json
import os
import signal
import sys

from tests.attacks import devices, files_read, files_write, kernel_surface, network, privileges, processes
from tests.attacks.corpus import Attack, NotApplicable, Targets

FAMILIES = [m.FAMILY for m in (files_read, files_write, processes, network, kernel_surface, privileges, devices)]
ATTEMPT_S = 5


def main() -> None:
    """Try everything and write the results."""
    targets = Targets(**json.loads(sys.argv[1]))
    results = {attack.name: attempt(attack, targets) for family in FAMILIES for attack in family.attacks}
    with open(sys.argv[2], "w") as file:
        json.dump(results, file)


def attempt(attack: Attack, targets: Targets) -> tuple[str, str]:
    """Try one attack in a child, and return how it went."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        signal.alarm(ATTEMPT_S)
        try:
            assert attack.deed
            attack.deed(targets)
            said = "open:"
        except NotApplicable as error:
            said = f"not applicable:{error}"
        except BaseException as error:
            said = f"blocked:{type(error).__name__}: {error}"
        os.write(writer, said.encode("utf-8", "replace")[:200])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read().decode("utf-8", "replace")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    result, _, words = data.partition(":")
    return (result, words) if result else ("blocked", f"ended by signal {-code}")


if __name__ == "__main__":
    main()
