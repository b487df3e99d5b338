"""The judge's proxy over HTTP, before a real server: limits, cache, streams, retries, and a worker that is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from gpu_worker.judge import upstream
from gpu_worker.judge.answer_cache import AnswerCache, KeptAnswer
from gpu_worker.judge.ledger import Ledger
from gpu_worker.judge.proxy import JudgeProxy
from gpu_worker.judge.session import Session
from gpu_worker.judge.usage import Usage
from mesh.spec import JudgeSpec
from tests.support.model_server import SILENCE, fail, model_server, say

KEY = "sk-real-0123456789"


def spec_of(url: str, **more: Any) -> JudgeSpec:
    plain: dict[str, Any] = {"usd": 1.0, "prices": {"m": (1.0, 10.0)}}
    return JudgeSpec(models=("m",), key="OPENAI_API_KEY", upstream=url, **(plain | more))


@contextmanager
def session_of(url: str, folder: Path, **more: Any) -> Iterator[Session]:
    proxy = JudgeProxy(spec_of(url, **more), KEY, folder)
    try:
        with proxy.session("r1", has_own_network=False) as session:
            yield session
    finally:
        proxy.close()


def ask(session: Session, text: str = "hello", path: str = "chat/completions", token: str = "", **more: Any) -> Any:
    """Ask; return status and JSON."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | more
    headers = {"Authorization": f"Bearer {token or session.token}", "Content-Type": "application/json"}
    url = f"{session.variables['OPENAI_BASE_URL']}/{path}"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=200
        ) as got:
            return got.status, json.load(got), dict(got.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


def text_of(answer: Any) -> str:
    return str(answer[1]["choices"][0]["message"]["content"])


def test_equal_questions_are_asked_once_also_after_a_restart_but_not_by_another_arena(tmp_path: Path) -> None:
    with model_server(say("one"), say("two"), say("three"), say("four")) as server:
        for _ in range(2):
            with session_of(server.url, tmp_path / "a") as session:
                assert [text_of(ask(session, temperature=0)) for _ in range(2)] == ["one", "one"]
                assert session.use().cached > 0
        with session_of(server.url, tmp_path / "b") as session:
            assert text_of(ask(session, temperature=0)) == "two"
            assert text_of(ask(session, temperature=1)) == "three"
            assert text_of(ask(session, temperature=1)) == "four"
            assert ask(session, temperature=0, max_tokens=99)[0] == 400  # another question: the script has ended
    assert len(server.asked) == 5


def test_all_answers_are_used_again_if_the_arena_says_so_and_none_if_it_says_off(tmp_path: Path) -> None:
    with model_server(say("one"), say("two"), say("three")) as server:
        with session_of(server.url, tmp_path, cache="all") as session:
            assert [text_of(ask(session)) for _ in range(2)] == ["one", "one"]
        with session_of(server.url, tmp_path, cache="off") as session:
            assert [text_of(ask(session, temperature=0)) for _ in range(2)] == ["two", "three"]


def test_equal_questions_at_a_time_are_one_call(tmp_path: Path) -> None:
    def slow(_: str) -> Any:
        time.sleep(0.2)
        return say("one")

    answers = []
    with model_server(slow) as server, session_of(server.url, tmp_path) as session:
        threads = [
            threading.Thread(target=lambda: answers.append(text_of(ask(session, temperature=0)))) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (session.use().calls, session.use().cached) == (1, 4)
    assert answers == ["one"] * 5


def test_a_limit_is_kept_and_said_and_no_client_tries_again(tmp_path: Path) -> None:
    with model_server(say("7", usage=(10, 90)), say("8")) as server:
        with session_of(server.url, tmp_path, usd_per_run=0.0015) as session:
            assert text_of(ask(session)) == "7"
            status, answer, headers = ask(session)
            assert (status, headers["x-should-retry"]) == (429, "false")
            assert answer["error"]["message"].startswith("judge.usd_per_run is $0.0015, $0.0009 of it are spent")
            assert "judge.usd_per_run" in session.trouble()
        with session_of(server.url, tmp_path, usd=0.002) as session:  # of the arena, after a restart
            assert ask(session, max_tokens=1000)[0] == 429
            assert text_of(ask(session, max_tokens=50)) == "8"
    assert len(server.asked) == 2


def test_calls_at_a_time_wait_for_each_other_where_the_limit_is_near(tmp_path: Path) -> None:
    def slow(_: str) -> Any:
        time.sleep(0.1)
        return say("7", usage=(10, 10))

    found = []
    with model_server(*[slow] * 6) as server, session_of(server.url, tmp_path, usd_per_run=0.0016) as session:
        threads = [threading.Thread(target=lambda: found.append(ask(session)[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [200] * 4  # each may cost more than half of the limit, and costs a fifteenth


def test_who_has_not_the_token_of_a_run_is_not_served(tmp_path: Path) -> None:
    with model_server() as server:
        with session_of(server.url, tmp_path) as session:
            assert ask(session, token="mesh-other")[0] == 401
            assert ask(session, token=KEY)[0] == 401
            with pytest.raises(openai.AuthenticationError):
                openai.OpenAI(base_url=session.variables["OPENAI_BASE_URL"], api_key="x").models.list()
        with pytest.raises(OSError, match=r".*"):
            ask(session)
    assert server.asked == []


@pytest.mark.parametrize(
    ("path", "more", "status", "words"),
    [
        ("chat/completions", {"model": "gpt-5"}, 403, "model 'gpt-5' is not in judge.models; use m"),
        ("files", {}, 404, "the judge's proxy has no '/files'"),
        ("../admin/keys", {}, 404, "has no"),
        ("responses", {"tools": [{"type": "web_search"}]}, 403, "tools of the provider cost more"),
        ("responses", {"background": True}, 403, "background"),
    ],
)
def test_what_the_arena_does_not_allow_is_refused(
    path: str, more: dict[str, Any], status: int, words: str, tmp_path: Path
) -> None:
    with model_server() as server, session_of(server.url, tmp_path) as session:
        found = ask(session, path=path, **more)
        assert (found[0], words in found[1]["error"]["message"]) == (status, True), found
        assert words in session.trouble()
    assert server.asked == []


def test_a_provider_that_is_busy_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "FIRST_WAIT_S", 0.01)
    busy = model_server(fail(429, retry_after="0"), fail(503), say("7"))
    with busy as server, session_of(server.url, tmp_path) as session:
        assert text_of(ask(session)) == "7"
        assert session.trouble() == ""
        assert session.use().calls == 1
    busy = model_server(fail(429, retry_after="3600"), say("9"))
    with busy as server, session_of(server.url, tmp_path) as session:
        assert ask(session, "a")[0] == 502
        assert session.trouble() == "the judge got no answer: the model's server answers with status 429 (1 try)"
        assert text_of(ask(session, "a")) == "9"  # the client itself has tried again
        assert session.trouble() == ""


def test_a_key_that_the_provider_refuses_is_said_without_it(tmp_path: Path) -> None:
    with model_server(fail(401, f"no such key: {KEY[:8]}")) as server, session_of(server.url, tmp_path) as session:
        status, answer, _ = ask(session)
        assert (status, answer["error"]["message"]) == (
            502,
            "the model's server refuses the key of OPENAI_API_KEY (status 401)",
        )
        assert session.trouble() == f"the judge got no answer: {answer['error']['message']}"


def test_a_request_that_the_provider_refuses_is_for_the_score_program_to_judge(tmp_path: Path) -> None:
    with model_server(fail(400, f"too long, {KEY}")) as server, session_of(server.url, tmp_path) as session:
        status, answer, _ = ask(session)
        assert (status, answer["error"]["message"]) == (400, "too long, ***OPENAI_API_KEY***")
        assert (session.trouble(), session.use().usd) == ("", 0.0)


CHAT: list[dict[str, Any]] = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "se"}}]},
    {"choices": [{"index": 0, "delta": {"content": "ven"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}},
]
MESSAGES: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 100, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "seven"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}},
    {"type": "message_stop"},
]


@contextmanager
def streaming(*streams: bytes) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers with these streams, and what it was asked with its headers."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body | {"headers": dict(self.headers.items())})
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(streams[len(seen) - 1])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def events(parts: list[dict[str, Any]], end: str = "") -> bytes:
    named = [f"event: {each['type']}\n" if "type" in each else "" for each in parts]
    return ("".join(f"{n}data: {json.dumps(each)}\n\n" for n, each in zip(named, parts, strict=True)) + end).encode()


def test_a_stream_passes_through_the_usual_client_and_is_metered_and_cached(tmp_path: Path) -> None:
    plain = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    whole = events([plain | each for each in CHAT], "data: [DONE]\n\n")
    with streaming(whole, whole) as (url, seen), session_of(url, tmp_path) as session:
        client = openai.OpenAI(base_url=session.variables["OPENAI_BASE_URL"], api_key=session.token)
        for _ in range(2):
            texts = [
                part.choices[0].delta.content  # as people write it: no part without a choice
                for part in client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "?"}], temperature=0, stream=True
                )
            ]
            assert texts == ["se", "ven"]
        assert seen[0]["stream_options"] == {"include_usage": True}
        use = session.use()
        assert (use.calls, use.cached, use.tokens_in, use.tokens_out) == (1, 1, 100, 20)
        client.close()


def test_messages_of_anthropic_are_metered_too(tmp_path: Path) -> None:
    with streaming(events(MESSAGES)) as (url, seen), session_of(url, tmp_path) as session:
        body = {"model": "m", "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "?"}]}
        headers = {"x-api-key": session.token, "anthropic-version": "2023-06-01"}
        request = urllib.request.Request(
            f"{session.variables['ANTHROPIC_BASE_URL']}/v1/messages", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=200) as answer:
            assert b"seven" in answer.read()
        assert seen[0]["headers"]["X-Api-Key"] == KEY
        assert "Authorization" not in seen[0]["headers"]
        assert (session.use().tokens_in, session.use().tokens_out) == (100, 20)


def test_a_stream_that_breaks_off_is_no_answer_and_costs_what_was_set_aside(tmp_path: Path) -> None:
    with streaming(events(CHAT[:1])) as (url, _), session_of(url, tmp_path) as session:
        client = openai.OpenAI(base_url=session.variables["OPENAI_BASE_URL"], api_key=session.token, max_retries=0)
        with pytest.raises(Exception, match=r"closed|incomplete|peer"):
            list(
                client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "?"}], stream=True, max_tokens=100
                )
            )
        client.close()
        assert "broke off" in session.trouble()
        assert session.use().usd > 0.001


def test_a_worker_that_is_killed_in_a_call_leaves_it_spent_and_its_client_does_not_wait(tmp_path: Path) -> None:
    program = """
import os, sys, time
from pathlib import Path
from gpu_worker.judge.proxy import JudgeProxy
from mesh.spec import JudgeSpec
spec = JudgeSpec(models=("m",), upstream=sys.argv[1], usd=1.0, prices={"m": (1.0, 10.0)})
with JudgeProxy(spec, "", Path(sys.argv[2])).session("r1", has_own_network=False) as session:
    print(session.port, session.token, flush=True)
    time.sleep(600)
"""
    with model_server(SILENCE) as server:
        worker = subprocess.Popen(
            [sys.executable, "-c", program, server.url, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout
        with worker.stdout:
            port, token = worker.stdout.readline().split()
        asking = Session("r1", spec_of(""), upstream.Upstream(""), None, None, door="", port=int(port))  # type: ignore[arg-type]
        ended = threading.Event()

        def wait_for_it() -> None:
            with pytest.raises(OSError, match=r".*"):
                ask(asking, token=token)
            ended.set()

        thread = threading.Thread(target=wait_for_it)
        thread.start()
        until = time.monotonic() + 60
        while not server.asked and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        thread.join(60)
        assert ended.is_set()
        ledger = Ledger(tmp_path / "ledger.sqlite")
        assert ledger.total_usd() > 0.001
        assert ledger.spent("r1").calls == 1
        ledger.close()
    with model_server(say("7", usage=(10, 10))) as server:
        spent = 0.0012
        with session_of(server.url, tmp_path, usd=spent + 0.001) as session:
            assert ask(session)[0] == 429  # at once: nobody waits for a call of the dead
            assert session.use().calls == 1


def test_answers_that_were_not_used_for_longest_go_first(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, max_mb=0.1)
    for number in range(60):
        cache.keep(f"{number:064x}", KeptAnswer("text/plain", b"x" * 4096, Usage(), 0.0))
        assert cache.get(f"{0:064x}"), number  # it is used all the time
        os.utime(tmp_path / "00" / f"{0:064x}", (2e9, 2e9))
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 0.13 * 1024**2
    assert cache.get(f"{59:064x}")
    assert cache.get(f"{1:064x}") is None
    cache.keep("f" * 64, KeptAnswer("text/plain", b"x" * 200_000, Usage(), 0.0))
    assert cache.get("f" * 64) is None
