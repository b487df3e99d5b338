"""Writes the reference of rights: `python -m mesh.accounts.rights_page > docs/reference/rights.md` (or `make events`).

A test fails if the page differs from the table in `mesh.accounts.rights`, so do not edit the page by hand.
"""

import sys

from mesh.accounts.rights import (
    MOST_PAYLOAD_BYTES,
    MOST_SUBSCRIPTIONS,
    OF_HUB,
    OF_MEMBERS,
    ROLE_NAMES,
    WHO_POSTS,
    Export,
    rights_of,
)

_HEAD = f"""# Rights of members

`make events` writes this page from `mesh/accounts/rights.py`; do not edit it. A hub ([how to](../howto/hub.md)) lets a
member do what its role allows, in the arenas that its token names, and under its own name alone. The NATS server
enforces this, not the member's software.

The server stands for two things in a list: `{{{{tag(arena)}}}}` is every arena in the member's token, `{{{{name()}}}}`
is its name. A member has at most {MOST_SUBSCRIPTIONS} subscriptions, and a message at most {MOST_PAYLOAD_BYTES:,}
bytes; the server closes a connection that exceeds one of them.

## Who posts which fact

The hub's own processes may post every [fact](../events.md). What a permission cannot say, such as whether a run was
given to the worker that finishes it, the board decides.

"""

_ACCOUNTS = """## What the accounts offer each other

The log belongs to the account HUB, and members belong to the account MEMBERS. A server publishes an answer on whatever
subject the question names. With two accounts, no answer can be written into the log that way.

"""


def render() -> str:
    """Return the whole page as Markdown."""
    roles = " | ".join(ROLE_NAMES)
    facts = [f"| fact | {roles} |", "|---|" + "---|" * len(ROLE_NAMES)]
    for kind, allowed in WHO_POSTS.items():
        marks = " | ".join("yes" if role in allowed else "" for role in ROLE_NAMES)
        facts.append(f"| `{kind}` | {marks} |")
    sections = [_HEAD + "\n".join(facts) + "\n"]
    for role in ROLE_NAMES:
        rights = rights_of(role)
        sections.append(
            f"## {role}\n\nA member with this role publishes on:\n\n{_listed(rights.publish)}\n"
            f"It subscribes to:\n\n{_listed(rights.subscribe)}"
        )
    offers = "\n".join([*(_row("HUB", each) for each in OF_HUB), *(_row("MEMBERS", each) for each in OF_MEMBERS)])
    sections.append(f"{_ACCOUNTS}| account | kind | subject |\n|---|---|---|\n{offers}\n")
    return "\n".join(sections)


def _listed(subjects: tuple[str, ...]) -> str:
    return "".join(f"- `{subject}`\n" for subject in subjects)


def _row(account: str, each: Export) -> str:
    many = " with several answers" if each.answers else ""
    return f"| {account} | {each.kind}{many} | `{each.subject}` |"


if __name__ == "__main__":
    sys.stdout.write(render())
