"""The sandbox of a process: kernel layers that restrict it (`contain`), and tiers of them (`tiers`).

The code that runs inside of the sandboxed process uses the standard library and ctypes alone.
"""
