"""Checks the `[judge]` of an arena when it is opened, finds the prices of its models, and says who can ask them."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from mesh.errors import BadArena, BadInput
from mesh.spec import ArenaSpec, JudgeSpec

ModelPrice = Callable[[str, str], tuple[float, float] | None]
"""Finds the price of a model, by its name and that of the key: dollars per million tokens in and out."""

PROVIDERS = {
    "OPENAI_API_KEY": "https://api.openai.com/v1",
    "ANTHROPIC_API_KEY": "https://api.anthropic.com/v1",
    "OPENROUTER_API_KEY": "https://openrouter.ai/api/v1",
    "GEMINI_API_KEY": "https://generativelanguage.googleapis.com/v1beta/openai",
    "DEEPSEEK_API_KEY": "https://api.deepseek.com/v1",
    "MISTRAL_API_KEY": "https://api.mistral.ai/v1",
    "GROQ_API_KEY": "https://api.groq.com/openai/v1",
    "TOGETHER_API_KEY": "https://api.together.xyz/v1",
}
"""Addresses of providers by the usual name of their key."""


def checked_judge(spec: ArenaSpec) -> JudgeSpec:
    """Return an arena's `[judge]` with the address of the provider in it.

    Raises:
        BadInput: it cannot be used; the message names field and cure.
    """
    judge, own = spec.judge, spec.environment
    if judge == JudgeSpec():
        return judge
    if not judge.models:
        raise BadInput('judge.models is empty: name the models that the score program asks, such as ["gpt-4o-mini"]')
    if spec.score.how in ("stdout", "file"):
        raise BadInput(
            f'judge is for a score program, but with score.how = "{spec.score.how}" the trial scores itself: score '
            'with how = "command"'
        )
    if judge.key and (not judge.key.isidentifier() or judge.key.startswith("MESH_")):
        raise BadInput(f"judge.key is {judge.key[:60]!r}; use the name of a variable, such as OPENAI_API_KEY")
    for what, names in (("keys", own.keys), ("variables", own.variables)):
        if judge.key and judge.key in names:
            raise BadInput(f"judge.key: {judge.key} is in environment.{what} too, which would show it: take it off")
    upstream = judge.upstream or PROVIDERS.get(judge.key, "")
    if not upstream:
        raise BadInput(
            'judge.upstream is empty: write the address of the API, such as "http://127.0.0.1:8000/v1", or name in '
            f"judge.key one of {', '.join(PROVIDERS)}"
        )
    address = urlsplit(upstream)
    if address.scheme not in ("http", "https") or not address.hostname or address.username:
        shown = upstream.rpartition("@")[2][:100]  # a password may stand before it
        raise BadInput(f'judge.upstream is "{shown}"; use an address such as "https://api.openai.com/v1"')
    if judge.key and not judge.usd:
        raise BadInput(f"judge.usd is 0, but {judge.key} pays for calls: set the most dollars, such as usd = 5.0")
    for name in judge.prices:
        if name not in judge.models:
            raise BadInput(f"judge.prices has {name[:60]!r}, which is not in judge.models")
    return replace(judge, upstream=upstream.rstrip("/"))


def priced(folder: Path, judge: JudgeSpec, price_of: ModelPrice | None) -> JudgeSpec:
    """Return a `[judge]` with the price of each model, if dollars are limited.

    Args:
        folder: the arena, for the error.
        judge: checked before.
        price_of: finds the prices that it does not name; None finds none.

    Raises:
        BadArena: a price is unknown, so that the limit cannot be kept.
    """
    if not (judge.usd or judge.usd_per_run):
        return judge
    prices = dict(judge.prices)
    for name in judge.models:
        if name not in prices and price_of and (found := price_of(name, judge.key)):
            prices[name] = found
        if name not in prices:
            limit = f"usd = {judge.usd:g}" if judge.usd else f"usd_per_run = {judge.usd_per_run:g}"
            raise BadArena(
                f"{folder / 'arena.toml'}: judge: the price of {name} is unknown, so {limit} cannot be kept: give "
                f'prices = {{"{name}" = [0.15, 0.6]}}, dollars per million tokens in and out'
            )
    return replace(judge, prices=prices)


def judge_words(spec: ArenaSpec) -> str:
    """Return in a sentence who asks which models and what that may cost, "" where nobody asks any."""
    judge = spec.judge
    if not judge.models:
        return ""
    limits = [f"${judge.usd:g} in all on each machine"] if judge.usd else []
    limits += [f"${judge.usd_per_run:g} per run"] if judge.usd_per_run else []
    limits += [f"{judge.calls_per_run:,} calls per run"] if judge.calls_per_run else []
    most = f"at most {', '.join(limits)}" if limits else "without a limit"
    models = ", ".join(judge.models)
    who = "the score program alone asks" if spec.trial.command else "the evaluator asks"
    text = f"judge: {who} {models} through a proxy of the worker, {most}"
    text += f"; {judge.key} stays outside of the sandbox" if judge.key else ""
    if not spec.trial.command:
        text += "; the program that it runs can ask them too, within these limits, and never sees the key"
    return text
