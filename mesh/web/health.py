"""The answer of `/healthz`: whether a process can work now."""

from starlette.responses import JSONResponse


def health_answer(trouble: str) -> JSONResponse:
    """Return 200, or 503 with the reason why the process cannot work now."""
    return JSONResponse({"status": "trouble", "why": trouble} if trouble else {"status": "ok"}, 503 if trouble else 200)
