"""The mesh: an event-sourced research swarm (see README.md)."""

__version__ = "0.1.0"
