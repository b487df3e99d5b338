"""The worker: takes run requests, executes trials, scores them outside the trial, reports.

`supervisor` owns the process tree of a slot, `trial` says what a process is given, `score` turns endings into outcomes,
`worker` is the loop. Importing this package is cheap, because every supervisor does.
"""
