"""The prices of models that a score program asks (`[judge]` of `arena.toml`), from litellm."""


def judge_price(name: str, key: str) -> tuple[float, float] | None:
    """Return the price of a model in dollars per million tokens in and out; None if it is unknown.

    Args:
        name: its name as its provider knows it, such as `gpt-4o-mini`.
        key: the variable that has the provider's key, such as `OPENROUTER_API_KEY`; "" for none.
    """
    from agents.llm import client  # it imports much, and most arenas ask no model
    from mesh.errors import BadInput

    provider = key.removesuffix("_API_KEY").lower()
    try:
        for known in (f"{provider}/{name}", name) if provider else (name,):
            if price := client.price_of(client.Model(known)):
                return round(price.token_in * 1e6, 6), round(price.token_out * 1e6, 6)
    except BadInput:  # litellm is not installed
        return None
    return None
