"""Records of the calls that a role makes: prompt, answer and parameters, without keys, kept beside the log."""

from collections.abc import Mapping, Sequence

from agents.llm.client import Message, Model, ModelAnswer
from agents.llm.hidden_keys import without_any_key
from mesh.agent.call_keeper import CallKeeper
from mesh.events import KeptCall
from mesh.model_calls import ModelCall


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
            messages=[{name: without_any_key(text) for name, text in message.items()} for message in messages],
            answer="" if answer.thought else without_any_key(answer.text),
            thoughts=without_any_key(answer.thoughts),
            trouble=without_any_key(answer.trouble),
        )
        return await self._keeper.keep(call)
