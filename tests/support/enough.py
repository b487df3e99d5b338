"""`mesh up` in a page runs for a time that a reader has; here it ends as soon as it has shown what a test waits for.

It is run by its path. `ENOUGH` has a regular expression in each line, and all must be found in the output so far, of
which the dot matches line ends too; the arguments are those of `mesh`.
"""

import os
import re
import signal
import subprocess
import sys


def main() -> int:
    """Run `mesh`, pass its output on, and interrupt it as Ctrl-C does once the output had everything."""
    wanted = [re.compile(pattern, re.DOTALL) for pattern in os.environ["ENOUGH"].splitlines()]
    words = [sys.executable, "-P", "-m", "mesh_cli", *sys.argv[1:]]
    shown = ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, encoding="utf-8") as mesh:
        assert mesh.stdout
        for line in mesh.stdout:
            sys.stdout.write(line)
            shown += line
            if wanted:
                wanted = [pattern for pattern in wanted if not pattern.search(shown)]
                if not wanted:
                    mesh.send_signal(signal.SIGINT)
        return mesh.wait()


if __name__ == "__main__":
    sys.exit(main())
