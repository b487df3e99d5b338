"""Programs that run the evaluator of another system; each is laid out beside the task and started alone."""
