"""Parameters of a request that a server refuses: finds them in its error, and remembers them for the next requests."""

import re
from collections.abc import Mapping
from typing import Any

_REFUSES = re.compile(
    r"unsupported|not? support|unrecogni[sz]ed|unknown|not permitted|extra_forbidden|unexpected|not allowed|deprecated"
    r"|cannot both|not available|not compatible|invalid parameter",
    re.IGNORECASE,
)
_OPTIONAL = ("reasoning_effort", "temperature", "top_p", "response_format")


class RefusedParameters:
    """What servers refused, by model and address; for as long as the process lives."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], set[str]] = {}

    def of(self, server: tuple[str, str]) -> set[str]:
        """Return the names of the parameters that a server refused."""
        return self._names.setdefault(server, set())

    def without(self, server: tuple[str, str], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that a server takes, as far as it is known."""
        refused = self.of(server)
        found = {name: value for name, value in parameters.items() if name not in refused}
        if "max_tokens" in refused and "max_tokens" in parameters:
            found["max_completion_tokens"] = parameters["max_tokens"]
        return found

    def learn(self, server: tuple[str, str], error: str, sent: Mapping[str, Any]) -> str:
        """Return the parameter of a request that an error refuses, and remember it; "" if it refuses none."""
        if "max_tokens" in sent and "max_completion_tokens" in error:
            self.of(server).add("max_tokens")
            return "max_tokens"
        if _REFUSES.search(error):
            for name in _OPTIONAL:
                word = "response_format|json_schema|structured output" if name == "response_format" else name
                if name in sent and re.search(rf"(?<!\w)(?:{word})(?!\w)", error, re.IGNORECASE):
                    self.of(server).add(name)
                    return name
        return ""
