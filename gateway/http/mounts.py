"""What a gateway serves beside its own routes: the one place where a module adds routes, indexes and tasks.

A route is made by `entry.member(path, handler, method, writes=…)`: it asks for a key, finds the arena, and is also
there below `/a/<arena>` and `/a/<arena>/i/<invitation>`. Another ASGI app is mounted as `Mount(path, keyed(app))`.
In both, `served_of(request)` has the arena (`.door` and the indexes) and `caller_of(request)` who asks.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from starlette.routing import BaseRoute

from gateway.channels import ChannelIndex
from gateway.commit_index import CommitIndex
from gateway.http.git_routes import GIT_ROUTES
from gateway.http.mcp_route import MCP, MCP_ROUTES
from gateway.log_index import LogIndex

ROUTES: list[BaseRoute] = [*GIT_ROUTES, *MCP_ROUTES]
"""Routes of other modules."""

INDEXES: list[type[LogIndex]] = [ChannelIndex, CommitIndex]
"""What is kept of each arena's log beside its board; `served_of(request).index(ChannelIndex)` returns one."""

LIFESPANS: list[Callable[[], AbstractAsyncContextManager[None]]] = [MCP.running]
"""What runs while the gateway serves, such as the sessions of a mounted app."""
