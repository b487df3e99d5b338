"""What every HTTP server of the mesh has: whom it answers, how long a client may take, and where it listens.

It needs the packages of the extra `web` (starlette and uvicorn).
"""
