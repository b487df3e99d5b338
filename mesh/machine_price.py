"""What a machine costs in an hour, by its owner's word or by the table of prices, and who rents it out."""

from pathlib import Path

import msgspec

from mesh.bounds import MAX_USD_PER_HOUR
from mesh.errors import BadInput
from mesh.gpu_prices import known_prices, machine_price

SAID = "said"
"""Source of a price that somebody has typed."""


class MachinePrice(msgspec.Struct, frozen=True):
    """The price of a whole machine in dollars per hour, None for unknown; `source` says where it is from."""

    per_hour_usd: float | None = None
    provider: str = ""
    instance: str = ""
    spot: bool = False
    source: str = ""

    def flags(self) -> list[str]:
        """Return it as options of a worker."""
        words = [("--provider", self.provider), ("--instance", self.instance)]
        number = [] if self.per_hour_usd is None or self.source not in ("", SAID) else [repr(self.per_hour_usd)]
        return [
            *(word for flag, value in words if value for word in (flag, value)),
            *(word for value in number for word in ("--price-per-hour", value)),
        ]


UNKNOWN_PRICE = MachinePrice()


def price_words(
    per_hour_usd: float | None = None, provider: str = "", instance: str = "", *, spot: bool = False
) -> MachinePrice:
    """Return the price that options give; without a number, `from_table` finds it by provider and instance.

    Args:
        per_hour_usd: Dollars per hour of the whole machine; None if not given.
        provider: Who rents it out; "" if not given.
        instance: The provider's name for such a machine; "" if not given.
        spot: Whether the provider may take it back at any time.

    Raises:
        BadInput: The price is negative, not a number or too large, or an instance has no provider.
    """
    if per_hour_usd is not None:
        if not 0 <= per_hour_usd <= MAX_USD_PER_HOUR:
            raise BadInput(f"--price-per-hour is {per_hour_usd:g}; use dollars per hour, 0 or more, a million at most")
        return MachinePrice(abs(per_hour_usd), provider, instance, spot, SAID)
    if instance and not provider:
        raise BadInput(f"--instance {instance} needs --provider: who rents it out?")
    return MachinePrice(None, provider, instance, spot)


def from_table(price: MachinePrice, home: Path, *, device: str, memory_mb: int, gpus: int) -> MachinePrice:
    """Return a price with the number that the table of prices has, if it has none and names a provider.

    Args:
        price: The price that options give.
        home: Folder of the user's own table.
        device: The device of the machine, as it joins with.
        memory_mb: Memory of the device.
        gpus: How many such devices the machine has.

    Raises:
        BadInput: The table has no such machine.
    """
    if price.per_hour_usd is not None or not price.provider:
        return price
    found = machine_price(
        known_prices(home),
        provider=price.provider,
        instance=price.instance,
        device=device,
        memory_mb=memory_mb,
        gpus=gpus,
        spot=price.spot,
    )
    return msgspec.structs.replace(price, per_hour_usd=found.usd_per_hour, source=found.source)
