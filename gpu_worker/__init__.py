"""The worker: takes run requests, runs their trials in a sandbox, scores them outside of the trial, posts the outcome.

`worker` joins and leaves; `slot_loop` keeps a supervisor per slot; `attempt` takes one delivery; `run` executes one run
from its files to its outcome; `supervisor` is the process that starts, watches and kills commands. Importing this
package is cheap, because every supervisor does.
"""
