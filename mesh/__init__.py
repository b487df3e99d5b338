"""The mesh: an event-sourced research swarm (see README.md)."""

__version__ = "0.2.0.dev0"
