"""Options of a model that an agent takes by `--option NAME=VALUE`, checked before anything is asked. Pure."""

from collections.abc import Mapping

from mesh.errors import BadInput

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The words that providers take for `reasoning_effort`; a provider may refuse some of them."""

RESEARCHER_OPTIONS = (
    "prompt_tokens",
    "answer_tokens",
    "timeout_s",
    "reasoning_effort",
    "temperature",
    "top_p",
    "structured",
    "price_per_mtok",
)
"""Options of a researcher; `mesh up --model` gives them to it, and all others to the explorers."""

_MOST_PER_MTOK = 1e6
_SPANS = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0)}


def model_parameters(options: Mapping[str, str]) -> tuple[tuple[str, str | float], ...]:
    """Return the parameters that each request has, by the provider's names.

    Raises:
        BadInput: A value is not valid.
    """
    found: list[tuple[str, str | float]] = []
    if effort := options.get("reasoning_effort", ""):
        if effort not in EFFORTS:
            raise BadInput(f"option reasoning_effort={effort} is not valid; use {', '.join(EFFORTS)}")
        found.append(("reasoning_effort", effort))
    for name, (low, high) in _SPANS.items():
        if text := options.get(name, ""):
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not low <= value <= high:
                raise BadInput(f"option {name}={text} is not valid; use a number from {low:g} to {high:g}")
            found.append((name, value))
    if options.get("structured", "auto") not in ("auto", "off"):
        raise BadInput(f"option structured={options['structured']} is not valid; use auto or off")
    return tuple(found)


def price_option(options: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the dollars for a million tokens in and out that the option `price_per_mtok` says; None without it.

    Raises:
        BadInput: It is not two numbers of 0 or more.
    """
    text = options.get("price_per_mtok", "")
    if not text:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 2 or not all(0 <= price <= _MOST_PER_MTOK for price in found):
        raise BadInput(
            f"option price_per_mtok={text} is not valid; use the dollars for a million tokens in and out, such as "
            "0.15,0.6 (0,0 for a model that costs nothing)"
        )
    return found[0], found[1]


def number_option(options: Mapping[str, str], name: str, default: float | None) -> float | None:
    """Return the value of an option, a number above 0; `default` if the option is not given.

    Raises:
        BadInput: The value is not a number above 0.
    """
    text = options.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise BadInput(f"option {name}={text} is not a valid number; use one above 0")
    return value
