"""The explorer's samplers: one file each. `portfolio` chooses among them, and `history` gives them the log.

Samplers that need an extra package import it at the first use; `portfolio.installed_samplers` lists the usable ones.
"""
