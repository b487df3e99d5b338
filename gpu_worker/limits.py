"""Limits that every process of a run has, whatever its arena says. The standard library alone."""

MAX_OUTPUT_MB = 64
"""What a command may print, on both streams together."""

MAX_FILES = 100_000
"""Files and folders that a run's folder may contain."""

MAX_PROCESSES = 512
"""Processes of a command that may live at a time, threads not counted."""

THREADS_PER_PROCESS = 4
"""Threads and processes that may live at a time, for each process that is allowed."""
