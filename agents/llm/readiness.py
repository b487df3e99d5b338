"""Whether a model can be asked: checked before anything starts, so that no researcher is silent later.

Provider, key and price are looked up without a call. One cheap call then tells what nothing else can: whether the
server answers, takes the key and knows the model. It costs a few tokens, which no budget counts.
"""

from agents.llm import client
from agents.llm.client import Model
from mesh.errors import BadInput

_QUESTION = "Answer with the word ready."
_TOKENS = 64
"""Longest answer of the trial call; models that reason refuse much smaller limits."""

_WITHIN_S = 60.0
_FIRST_WAIT_S = 0.2


async def check_ready(model: Model, *, has_budget: bool) -> None:
    """Check that a model can be asked.

    Args:
        model: The model.
        has_budget: Whether a limit of dollars or tokens is given.

    Raises:
        BadInput: Its key is missing, it costs money and has no budget, or the trial call failed.
    """
    if missing := client.missing_keys(model):
        raise BadInput(f"{model.name} needs {' or '.join(missing)} in the environment, which is not set; export it")
    price = client.price_of(model)
    if price and price.of(1, 1) and not has_budget:
        each = f"${price.token_in * 1e6:g} and ${price.token_out * 1e6:g} for a million tokens in and out"
        raise BadInput(f"{model.name} costs {each}; give --budget-usd or --budget-tokens, such as --budget-usd 5")
    answer = await client.ask_model(
        model,
        [{"role": "user", "content": _QUESTION}],
        max_tokens=_TOKENS,
        timeout_s=_WITHIN_S,
        within_s=_WITHIN_S,
        first_wait_s=_FIRST_WAIT_S,
    )
    if answer.trouble and not answer.cost.tokens_out:  # an empty answer is one: a model may only have thought
        where = f" (server {model.api_base})" if model.api_base else ""
        raise BadInput(f"{answer.trouble}{where}; check --model, --api-base and the network")
