"""The worker: takes run requests, executes trials, scores them outside the trial, reports.

`supervisor` owns the process tree of a slot and `supervise` speaks to it, `trial` says what a process is given, `score`
turns endings into outcomes, `slot` takes one run through all of that, `worker` is the loop. Importing this
package is cheap, because every supervisor does.
"""
