"""Records of the calls that a role makes: prompt, answer and parameters, without keys, kept beside the log."""

import re
from collections.abc import Mapping, Sequence

from agents.llm.client import Message, Model, ModelAnswer, without_keys
from mesh.agent.call_keeper import CallKeeper
from mesh.events import KeptCall
from mesh.model_calls import ModelCall

_KEY = re.compile(
    r"\b(?:sk|pk|gsk|xai|hf|ghp)[-_][A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{16}\b|\bAIza[\w-]{20,}|(?<=Bearer )\S+"
)


class CallRecords:
    """Records the calls of one role to one model."""

    def __init__(self, keeper: CallKeeper | None, model: Model, max_tokens: int) -> None:
        self._keeper, self._model, self._max_tokens = keeper, model, max_tokens

    async def keep(
        self, messages: Sequence[Message], answer: ModelAnswer, *, schema: Mapping[str, object] | None = None
    ) -> KeptCall | None:
        """Keep a call; None if calls are not kept.

        Args:
            messages: The prompt.
            answer: The answer, or why there is none.
            schema: The JSON schema of the answer, if the provider was to enforce one.

        Raises:
            BusUnavailable: The server does not answer.
        """
        if self._keeper is None:
            return None
        parameters: dict[str, str | int | float] = {"max_tokens": self._max_tokens, **dict(self._model.parameters)}
        if schema is not None:
            parameters["response_format"] = "json_schema"
        call = ModelCall(
            model=self._model.name,
            parameters=parameters,
            messages=[{name: _plain(text) for name, text in message.items()} for message in messages],
            answer="" if answer.thought else _plain(answer.text),
            thoughts=_plain(answer.thoughts),
            trouble=_plain(answer.trouble),
        )
        return await self._keeper.keep(call)


def _plain(text: str) -> str:
    return _KEY.sub("[secret]", without_keys(text))
