"""Containing a process: kernel layers that hold it (`contain`), and which of them this machine really offers (`tiers`).

What is applied inside the contained process uses the standard library and ctypes alone.
"""
