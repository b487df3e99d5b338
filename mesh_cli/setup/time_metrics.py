"""Tells by its name whether a metric is a time, or a rate by time, which depends on what else the machine does."""

import re

_TIME = re.compile(
    r"(^|_)(s|ms|us|ns|secs?|seconds?|minutes?|milliseconds|time|times|runtime|walltime|latency|duration|elapsed)(_|$)",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"(^|_)(speedup|speed|throughput|fps|qps|rps|ops|gflops|flops|[kmg]b_s|ops_s|per_s(ec(ond)?)?|tokens_s)(_|$)"
    r"|per_sec",
    re.IGNORECASE,
)


def is_time(metric: str) -> bool:
    """Tell whether a metric reads like a time, which is better where it is lower."""
    return bool(_TIME.search(metric)) and not is_rate(metric)


def is_rate(metric: str) -> bool:
    """Tell whether a metric reads like a rate by time, which is better where it is higher."""
    return bool(_RATE.search(metric))
