"""The explorer's samplers: one file each behind `protocol`, dealt out by `portfolio`, fed from the log by `history`.

Those that need a package import it when they are asked; `portfolio.installed` tells which there are.
"""
