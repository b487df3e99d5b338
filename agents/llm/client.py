"""A client of language models: one question, its answer and its cost. The only module that imports litellm.

litellm takes seconds to import, so it is imported at the first use. Prices come from litellm; a model without a price
there has an unknown price, not a price of zero. Keys stay in the environment, where litellm reads them, and are removed
from every text of a provider. Budgets and retries after a bad answer are the caller's task.
"""

import importlib
import math
import os
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import stamina

from agents.llm.hidden_keys import clean
from agents.llm.refused_parameters import RefusedParameters
from mesh.data_marks import tokens_of
from mesh.errors import BadInput
from mesh.events import Cost

Message = dict[str, str]
"""One message of a chat, with the keys `role` and `content`."""

ATTEMPTS = 5
"""Most requests per call. A rate limit, a failing server or a lost connection lead to another request."""

MAX_WAIT_S = 60.0
"""Longest pause between two requests."""


class Price(msgspec.Struct, frozen=True):
    """Dollars per token."""

    token_in: float
    token_out: float

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """Return the price of these tokens, in dollars."""
        return self.token_in * tokens_in + self.token_out * tokens_out


class Model(msgspec.Struct, frozen=True):
    """A model as `provider/name`, the address of its server if it is not the provider's default, and its parameters.

    `parameters` are those of each request, such as `("temperature", 0.7)`. `price` is what its user says that it costs,
    None for what litellm knows.
    """

    name: str
    api_base: str = ""
    parameters: tuple[tuple[str, str | float], ...] = ()
    price: Price | None = None


class ModelAnswer(msgspec.Struct, frozen=True):
    """The text of an answer, or in `trouble` one sentence why there is none; `cut` if it ran out of tokens.

    `ok` unless the provider failed or was silent. An empty answer and a refusal are answers.
    `notice` says which parameters the server refused, so that the request was repeated without them. `thought` if the
    text is the model's reasoning, because the server gave no other: some put whole answers there. `thoughts` is that
    reasoning in any case.
    """

    text: str
    cost: Cost
    trouble: str = ""
    cut: bool = False
    thought: bool = False
    notice: str = ""
    thoughts: str = ""
    ok: bool = True


_REFUSED = RefusedParameters()


class _NotNow(Exception):
    """The provider may answer later; `after_s` says in how many seconds, None if unknown."""

    def __init__(self, text: str, after_s: float | None) -> None:
        super().__init__(text)
        self.after_s = after_s


def size_of(messages: Sequence[Message]) -> int:
    """Return an upper estimate of the tokens of messages, including four per message for its frame."""
    return sum(tokens_of(message["content"]) + 4 for message in messages)


def check_model(model: Model) -> None:
    """Check that litellm knows the provider of a model.

    Raises:
        BadInput: The provider is unknown, or litellm is not installed.
    """
    litellm = _litellm()
    try:
        litellm.get_llm_provider(model.name)
    except Exception:
        raise BadInput(
            f"model {model.name!r} has no known provider; write provider/name, such as openai/gpt-4o"
        ) from None


def missing_keys(model: Model) -> list[str]:
    """Return the names of keys of which the environment needs one for a model, and has none.

    A server of one's own needs no key. Credentials that may lie elsewhere (files, a cloud's metadata) are not looked
    for.
    """
    litellm = _litellm()
    if model.api_base:
        return []
    found: Mapping[str, Any] = litellm.validate_environment(model.name)
    return [name for name in found.get("missing_keys", []) if name.endswith("_API_KEY")]


def price_of(model: Model) -> Price | None:
    """Return the price of a model's tokens; None if it is unknown."""
    if model.price is not None:
        return model.price
    litellm = _litellm()
    try:
        info: Mapping[str, Any] = litellm.get_model_info(model.name)
    except Exception:
        return None
    prices = [info.get("input_cost_per_token"), info.get("output_cost_per_token")]
    if not all(isinstance(price, int | float) for price in prices) or not any(prices):
        return None
    return Price(*map(float, prices))  # type: ignore[arg-type]


async def ask_model(
    model: Model,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    timeout_s: float = 180.0,
    within_s: float = math.inf,
    first_wait_s: float = 1.0,
    schema: Mapping[str, Any] | None = None,
) -> ModelAnswer:
    """Ask a model one question. A request is repeated only if another try may help.

    A server that refuses a parameter is asked again without it, and not given it again.

    Args:
        model: The model to ask.
        messages: The question.
        max_tokens: Longest answer, in tokens.
        timeout_s: Longest duration of one request.
        within_s: Longest duration of all requests and the pauses between them.
        first_wait_s: The first pause; later ones grow, or last as long as the provider asks.
        schema: The JSON schema of the answer, where the provider is to enforce it.

    Raises:
        BadInput: The provider refuses the key, the model or the question, so another try cannot help.
    """
    await anyio.to_thread.run_sync(_import_what_calls_need)
    began = time.monotonic()
    price = price_of(model)

    def after(error: Exception) -> bool | float:
        wait_s = error.after_s if isinstance(error, _NotNow) else None
        return isinstance(error, _NotNow) if wait_s is None else min(MAX_WAIT_S, wait_s)

    def cost(tokens_in: int | None = None, tokens_out: int | None = None) -> Cost:
        known = price is not None and tokens_in is not None and tokens_out is not None
        usd = price.of(tokens_in or 0, tokens_out or 0) if known and price else None
        seconds = round(time.monotonic() - began, 3)
        return Cost(usd=usd, tokens_in=tokens_in, tokens_out=tokens_out, seconds=seconds)

    reply: Any = None
    notices: list[str] = []
    parameters: dict[str, Any] = {"max_tokens": max_tokens, **dict(model.parameters)}
    if schema is not None:
        form = {"name": "answer", "schema": schema, "strict": True}
        parameters["response_format"] = {"type": "json_schema", "json_schema": form}
    try:
        with anyio.fail_after(within_s):
            async for attempt in stamina.retry_context(
                on=after,
                attempts=ATTEMPTS,
                timeout=None,
                wait_initial=first_wait_s,
                wait_max=MAX_WAIT_S,
                wait_jitter=0.1,
            ):
                with attempt, anyio.fail_after(timeout_s):
                    reply = await _with_what_it_takes(model, messages, parameters, timeout_s, notices)
    except TimeoutError:  # the provider has read the question, and most providers charge for that
        trouble = f"{model.name} did not answer within {min(timeout_s, within_s):g} s"
        return ModelAnswer("", cost(size_of(messages), 0), trouble, ok=False)
    except _NotNow as error:
        trouble = f"{model.name} gave no answer in {ATTEMPTS} requests: {error}"
        return ModelAnswer("", cost(), trouble, ok=False)
    if isinstance(reply, str):
        return ModelAnswer("", cost(size_of(messages), 0), reply, notice="; ".join(notices))
    return msgspec.structs.replace(_read(model, reply, messages, cost), notice="; ".join(notices))


def takes_schema(model: Model) -> bool:
    """Tell whether the provider of a model enforces a JSON schema, as far as litellm and its answers tell."""
    if "response_format" in _REFUSED.of((model.name, model.api_base)):
        return False
    try:
        return bool(_litellm().supports_response_schema(model=model.name))
    except Exception:
        return False


async def _with_what_it_takes(
    model: Model, messages: Sequence[Message], parameters: Mapping[str, Any], timeout_s: float, notices: list[str]
) -> Any:
    """Return the reply to a request that is repeated without the parameters that the server refuses."""
    server = (model.name, model.api_base)
    for name in _unknown_to_litellm(model) & parameters.keys() - _REFUSED.of(server):
        _REFUSED.of(server).add(name)
        notices.append(f"{model.name} takes no {name}, which is left out from now on")
    while True:
        sent = _REFUSED.without(server, parameters)
        try:
            return await _request(model, messages, sent, timeout_s)
        except BadInput as error:
            refused = _REFUSED.learn(server, str(error), sent)
            if not refused:
                raise
            instead = ", which gets max_completion_tokens" if refused == "max_tokens" else ""
            notices.append(f"{model.name} refuses {refused}{instead or ', which is left out from now on'}")


def _unknown_to_litellm(model: Model) -> set[str]:
    """Return the parameters that litellm would drop without a word for this model."""
    try:
        known = _litellm().get_supported_openai_params(model=model.name)
    except Exception:
        known = None
    return {"reasoning_effort", "temperature", "top_p"} - {*known} if known else set()


async def _request(model: Model, messages: Sequence[Message], parameters: Mapping[str, Any], timeout_s: float) -> Any:
    """Return litellm's reply, or one sentence if the provider refused the content of the question."""
    litellm = _litellm()
    options: dict[str, Any] = {"api_base": model.api_base} if model.api_base else {}
    if model.api_base and model.name.startswith("openai/") and not os.environ.get("OPENAI_API_KEY"):
        options["api_key"] = "none"  # a private server needs no key, but its client requires one
    try:
        return await litellm.acompletion(
            model=model.name,
            messages=list(messages),
            **parameters,
            timeout=timeout_s,
            max_retries=0,
            num_retries=0,
            drop_params=True,
            **options,
        )
    except litellm.Timeout:
        raise TimeoutError from None
    except litellm.ContentPolicyViolationError as error:
        return f"{model.name} refuses the question: {_plain(error)}"
    except litellm.ContextWindowExceededError as error:
        raise BadInput(
            f"the question is too long for {model.name}; use a lower option prompt_tokens ({_plain(error)})"
        ) from None
    except (litellm.RateLimitError, litellm.APIConnectionError) as error:
        raise _NotNow(_plain(error), _retry_after(error)) from None
    except Exception as error:
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and (status >= 500 or status in (408, 409, 425, 429)):
            raise _NotNow(_plain(error), _retry_after(error)) from None
        fault = {
            400: "refuses the question",
            401: "refuses the key; set a valid key in the environment",
            403: "refuses the key, which has no access to this model; use another key or model",
            404: "is unknown to its provider; check --model and --api-base",
        }.get(status or 0, "cannot be asked")
        raise BadInput(f"{model.name} {fault} ({_plain(error)})") from None


def _read(model: Model, reply: Any, messages: Sequence[Message], cost: Any) -> ModelAnswer:
    choice: Any = reply.choices[0] if reply.choices else None
    content = (choice.message.content if choice else None) or ""
    text = content.encode(errors="replace").decode()
    thoughts = _reasoning(choice.message).encode(errors="replace").decode() if choice else ""
    used = getattr(reply, "usage", None)
    tokens_in = _count(getattr(used, "prompt_tokens", 0)) or size_of(messages)  # some servers do not count
    tokens_out = _count(getattr(used, "completion_tokens", 0)) or tokens_of(text + thoughts)
    paid = cost(tokens_in, tokens_out)
    if text.strip():
        return ModelAnswer(text, paid, cut=choice.finish_reason == "length", thoughts=thoughts)
    extra = getattr(choice.message, "provider_specific_fields", None) if choice else None
    refusal = (extra or {}).get("refusal") or ""
    if refusal or (choice and choice.finish_reason == "content_filter"):
        why = clean(str(refusal) or "its filter blocked the answer")
        return ModelAnswer("", paid, f"{model.name} refuses: {why}", thoughts=thoughts)
    if thoughts.strip() and choice.finish_reason != "length":
        return ModelAnswer(thoughts, paid, thought=True, thoughts=thoughts)
    why = "; it used all its tokens for reasoning" if choice and choice.finish_reason == "length" else ""
    return ModelAnswer("", paid, f"{model.name} gave an empty answer{why}", thoughts=thoughts)


def _reasoning(message: Any) -> str:
    """Return what a server calls the model's reasoning; servers name the field in two ways."""
    extra = getattr(message, "provider_specific_fields", None) or {}
    found = [getattr(message, "reasoning_content", None), extra.get("reasoning_content"), extra.get("reasoning")]
    return next((text for text in found if isinstance(text, str) and text), "")


def _count(tokens: object) -> int:
    """Return a number of tokens, 0 if a server gave something else."""
    return tokens if isinstance(tokens, int) and 0 < tokens < 10**9 else 0


def _plain(error: Exception) -> str:
    """Return the message of an error without litellm's class names."""
    return clean(re.sub(r"\b(litellm\.)?\w+(Error|Exception)(: | - )", "", str(error)) or type(error).__name__)


def _retry_after(error: Exception) -> float | None:
    """Return the pause that a provider asks for, in seconds; None if it does not say."""
    for source in (getattr(error, "response", None), error):
        headers = getattr(source, "headers", None) or getattr(source, "litellm_response_headers", None) or {}
        try:
            return max(0.0, float(headers["retry-after"]))
        except (KeyError, TypeError, ValueError):
            continue
    return None


def _import_what_calls_need() -> None:
    """Import what litellm imports in its first call, which would count against the time limit of that call."""
    _litellm()
    for name in ("openai.resources", "openai.types.chat", "httpx", "litellm.proxy._types"):
        with suppress(ImportError):
            importlib.import_module(name)


def _litellm() -> Any:
    """Import litellm so that it reads no prices from the network, sends no telemetry and prints nothing."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    warnings.filterwarnings("ignore", category=UserWarning, module=r"pydantic\.")  # caused by litellm's types
    try:
        import litellm
    except ImportError as error:
        raise BadInput(f"models need the package litellm ({error}); run pip install 'mesh-swarm[models]'") from None
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_aiohttp_transport = True  # httpx closes its connections with the loop; aiohttp leaves sessions open
    stamina.instrumentation.set_on_retry_hooks([])
    return litellm
