"""What a worker and its supervisor tell each other, one line of JSON at a time."""

import msgspec


class Ending(msgspec.Struct, frozen=True):
    """How a supervised process ended: the supervisor's answer."""

    rc: int | None
    why: str
    seconds: float
    cpu_s: float
    peak_memory_mb: float
    out: str
    err: str
    bounded: bool = False
