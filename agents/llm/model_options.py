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
)
"""Options of a researcher; `mesh up --model` gives them to it, and all others to the explorers."""

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
