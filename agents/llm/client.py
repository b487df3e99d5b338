"""A client of language models: one question, its answer and what it cost. The only module that knows litellm.

litellm takes seconds to import, so it is imported at the first use. Prices are those that come with it: a model that is
not among them has no known price, which is never zero. Keys stay in the environment, where litellm looks for them, and
are taken out of every text that a provider sends back. Budgets and retries of a bad answer are the caller's.
"""

import math
import os
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import stamina

from agents.llm.digest import tokens_of
from mesh.errors import BadInput
from mesh.events import Cost

Message = dict[str, str]
"""`role` and `content`."""

ATTEMPTS = 5
"""Requests of one call, as far as a limit of the rate, a server that fails or a lost connection ask for more."""

MAX_WAIT_S = 60.0
"""Longest pause between two of them."""

_PROMPTS = Path(__file__).parent / "prompts"
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)", re.IGNORECASE)
_LOOKS_SECRET = re.compile(r"\b(sk|pk|key|AIza|gsk|xai|hf)[-_][\w*-]{6,}|\bAIza[\w-]{20,}|(?<=Bearer )\S+")


class Model(msgspec.Struct, frozen=True):
    """A model as `provider/name`, and the address of its server where it is not the provider's own."""

    name: str
    api_base: str = ""


class Price(msgspec.Struct, frozen=True):
    """Dollars per token."""

    token_in: float
    token_out: float

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """Return what so many tokens cost, in dollars."""
        return self.token_in * tokens_in + self.token_out * tokens_out


class ModelAnswer(msgspec.Struct, frozen=True):
    """What came back: a text, or `trouble`, one sentence about why there is none; `cut` where it ran out of tokens."""

    text: str
    cost: Cost
    trouble: str = ""
    cut: bool = False


class _NotNow(Exception):
    """The provider may answer later; says when, where it is known, in seconds."""

    def __init__(self, text: str, after_s: float | None) -> None:
        super().__init__(text)
        self.after_s = after_s


def prompt(name: str) -> str:
    """Return one of our own texts for models, `prompts/<name>.md`."""
    return (_PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()


def size_of(messages: Sequence[Message]) -> int:
    """Return how many tokens messages have at most, with four for each one's frame."""
    return sum(tokens_of(message["content"]) + 4 for message in messages)


def check_model(model: Model) -> None:
    """Refuse a model of which litellm does not know who serves it.

    Raises:
        BadInput: so it is, or litellm is not installed.
    """
    litellm = _litellm()
    try:
        litellm.get_llm_provider(model.name)
    except Exception:
        raise BadInput(f"model {model.name!r} has no provider: write provider/name, such as openai/gpt-4o") from None


def price_of(model: Model) -> Price | None:
    """Return what a model's tokens cost, None where it is not known."""
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
) -> ModelAnswer:
    """Ask once, at most `max_tokens` long; a request is given `timeout_s`, and repeated only where that may help.

    All requests and the pauses between them take at most `within_s`.

    Raises:
        BadInput: the provider refuses the key, the model or the question: asking again is of no use.
    """
    await anyio.to_thread.run_sync(_litellm)
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
                    reply = await _request(model, messages, max_tokens, timeout_s)
    except TimeoutError:  # whoever was asked has read the question, and most charge for that
        trouble = f"{model.name} did not answer within {min(timeout_s, within_s):g} s"
        return ModelAnswer("", cost(size_of(messages), 0), trouble)
    except _NotNow as error:
        return ModelAnswer("", cost(), f"{model.name} gave no answer in {ATTEMPTS} requests: {error}")
    if isinstance(reply, str):
        return ModelAnswer("", cost(size_of(messages), 0), reply)
    return _read(model, reply, messages, cost)


async def _request(model: Model, messages: Sequence[Message], max_tokens: int, timeout_s: float) -> Any:
    """Return litellm's reply, or one sentence where the question was refused for what it holds."""
    litellm = _litellm()
    options: dict[str, Any] = {"api_base": model.api_base} if model.api_base else {}
    if model.api_base and model.name.startswith("openai/") and not os.environ.get("OPENAI_API_KEY"):
        options["api_key"] = "none"  # a server of one's own asks for no key, but its client wants one
    try:
        return await litellm.acompletion(
            model=model.name,
            messages=list(messages),
            max_tokens=max_tokens,
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
        said = _plain(error)
        raise BadInput(f"{model.name} takes no question so long: lower option prompt_tokens ({said})") from None
    except (litellm.RateLimitError, litellm.APIConnectionError) as error:
        raise _NotNow(_plain(error), _retry_after(error)) from None
    except Exception as error:
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and (status >= 500 or status in (408, 409, 425, 429)):
            raise _NotNow(_plain(error), _retry_after(error)) from None
        whose = {
            400: "refuses the question",
            401: "refuses the key: set the right one in the environment",
            403: "refuses the key: it may not use this model",
            404: "is unknown to its provider: look at --model and --api-base",
        }.get(status or 0, "cannot be asked")
        raise BadInput(f"{model.name} {whose} ({_plain(error)})") from None


def _read(model: Model, reply: Any, messages: Sequence[Message], cost: Any) -> ModelAnswer:
    choice: Any = reply.choices[0] if reply.choices else None
    said = (choice.message.content if choice else None) or ""
    text = said.encode(errors="replace").decode()
    used = getattr(reply, "usage", None)
    tokens_in = getattr(used, "prompt_tokens", 0) or size_of(messages)  # some servers do not count
    tokens_out = getattr(used, "completion_tokens", 0) or tokens_of(text)
    paid = cost(tokens_in, tokens_out)
    if text.strip():
        return ModelAnswer(text, paid, cut=choice.finish_reason == "length")
    extra = getattr(choice.message, "provider_specific_fields", None) if choice else None
    refusal = (extra or {}).get("refusal") or ""
    if refusal or (choice and choice.finish_reason == "content_filter"):
        return ModelAnswer(
            "", paid, f"{model.name} refuses: {clean(str(refusal) or 'its filter kept the answer back')}"
        )
    why = ", all its tokens went into thought" if choice and choice.finish_reason == "length" else ""
    return ModelAnswer("", paid, f"{model.name} gave an empty answer{why}")


def clean(text: str, limit: int = 300) -> str:
    """Return a text of a provider on one line, without anything that is or looks like a key."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, "[secret]")
    text = re.sub(r"://[^/\s@]+@", "://[secret]@", _LOOKS_SECRET.sub("[secret]", text))
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[:limit]}…"


def _plain(error: Exception) -> str:
    """What an error says, without litellm's names of its classes."""
    return clean(re.sub(r"\b(litellm\.)?\w+(Error|Exception)(: | - )", "", str(error)) or type(error).__name__)


def _retry_after(error: Exception) -> float | None:
    """The seconds that a provider asks to wait for, None where it does not say."""
    for source in (getattr(error, "response", None), error):
        headers = getattr(source, "headers", None) or getattr(source, "litellm_response_headers", None) or {}
        try:
            return max(0.0, float(headers["retry-after"]))
        except (KeyError, TypeError, ValueError):
            continue
    return None


def _litellm() -> Any:
    """Import litellm, quietly: it reads no prices off the network, sends no telemetry and prints nothing."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    warnings.filterwarnings("ignore", category=UserWarning, module=r"pydantic\.")  # its quarrel with litellm's types
    try:
        import litellm
    except ImportError as error:
        raise BadInput(f"models need litellm ({error}): pip install 'mesh-swarm[models]'") from None
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_aiohttp_transport = True  # httpx closes what it opened with the loop; sessions of aiohttp linger
    stamina.instrumentation.set_on_retry_hooks([])
    return litellm
