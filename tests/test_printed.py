"""What coding agents print, as seen of the versions in the table: their last words, tokens and dollars."""

import json

import pytest

from agents.coding.printed import Printed, read_printed
from mesh.bounds import MAX_INTEGER
from mesh.events import Cost

CLAUDE = (
    '{"type":"result","subtype":"success","is_error":false,"num_turns":2,"result":"I raised the rate.",'
    '"total_cost_usd":0.009,"usage":{"input_tokens":2000,"cache_creation_input_tokens":30,'
    '"cache_read_input_tokens":4,"output_tokens":200},"modelUsage":{}}\n'
)
CODEX = """\
{"type":"thread.started","thread_id":"01"}
{"type":"turn.started"}
{"type":"error","message":"Reconnecting... 2/5"}
{"type":"item.completed","item":{"id":"item_1","type":"command_execution","command":"ls","exit_code":0}}
{"type":"item.completed","item":{"id":"item_2","type":"agent_message","text":"I raised the rate."}}
{"type":"turn.completed","usage":{"input_tokens":1000,"cached_input_tokens":0,"output_tokens":100}}
"""
GEMINI = """\
Loaded cached credentials.
{
  "session_id": "c",
  "response": "I raised the rate.",
  "stats": {
    "models": {"gemini-2.5-flash": {"tokens": {"prompt": 2000, "candidates": 150, "thoughts": 50, "total": 2200}}}
  }
}
"""
OPENCODE = """\
{"type":"step_start","timestamp":1,"sessionID":"s","part":{"type":"step-start"}}
{"type":"text","timestamp":1,"sessionID":"s","part":{"type":"text","text":"I raised the rate."}}
{"type":"step_finish","timestamp":1,"sessionID":"s","part":{"type":"step-finish","tokens":{"total":1100,"input":1000,\
"output":90,"reasoning":10,"cache":{"write":5,"read":6}},"cost":0.5}}
{"type":"step_finish","timestamp":1,"sessionID":"s","part":{"type":"step-finish","tokens":{"input":1,"output":2},"cost":0.25}}
"""
AIDER = """\
Analytics have been permanently disabled.
Aider v0.86.2
Main model: openai/gpt-4o with diff edit format
Added train.py to the chat.

I raise the rate.

train.py
```python
<<<<<<< SEARCH
LR = 1e-3
=======
LR = 0.5
>>>>>>> REPLACE
```

Tokens: 1.5k sent, 100 received. Cost: $0.0035 message, $0.0035 session.
Applied edit to train.py
"""
OPENCLAW = """\
{
  "ok": true,
  "final": "I raised the rate.",
  "payloads": [{"text": "I raised the rate."}],
  "usage": {"input": 10, "output": 3, "cacheRead": 5, "cacheWrite": 0, "cost": {"total": 0.0022}},
  "costUsd": 0.0022
}
"""
SAID = "I raised the rate."


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (CLAUDE, Printed(SAID, Cost(usd=0.009, tokens_in=2034, tokens_out=200))),
        (CODEX, Printed(SAID, Cost(tokens_in=1000, tokens_out=100))),
        (GEMINI, Printed(SAID, Cost(tokens_in=2000, tokens_out=200))),
        (OPENCODE, Printed(SAID, Cost(usd=0.75, tokens_in=1012, tokens_out=102))),
        (OPENCODE.replace("0.5", "0").replace("0.25", "0"), Printed(SAID, Cost(tokens_in=1012, tokens_out=102))),
        (AIDER, Printed("I raise the rate.", Cost(usd=0.0035, tokens_in=1500, tokens_out=100))),
        (OPENCLAW, Printed(SAID, Cost(usd=0.0022, tokens_in=15, tokens_out=3))),
        ("\x1b[1mdone\x1b[0m\n", Printed("done")),
        ("", Printed()),
    ],
    ids=["claude", "codex", "gemini", "opencode", "opencode-without-price", "aider", "openclaw", "text", "nothing"],
)
def test_words_and_costs_are_read_of_every_form(text: str, printed: Printed) -> None:
    assert read_printed(text) == printed


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        (CLAUDE.replace("false", "true").replace(SAID, "Credit balance is too low"), "Credit balance is too low"),
        ('{"type":"turn.started"}\n{"type":"turn.failed","error":{"message":"no key"}}\n', "no key"),
        ('{"type":"turn.started"}\n{"type":"error","message":"no network"}\n', "no network"),
        (
            '{\n "session_id": "c",\n "error": {"message": "Invalid auth method selected.", "code": 41}\n}',
            "Invalid auth",
        ),
        ('{"ok": false, "error": {"type": "cli_error", "message": "Unknown model"}}', "Unknown model"),
        ('{"type":"error","sessionID":"s","error":{"name":"E","data":{"message":"no model"}}}', "no model"),
    ],
)
def test_the_reason_of_a_failure_is_read(text: str, trouble: str) -> None:
    assert read_printed(text).trouble.startswith(trouble)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": "many", "output_tokens": None},
        {"input_tokens": True, "output_tokens": -5},
        {"input_tokens": [1], "output_tokens": {"a": 1}},
        [],
    ],
)
@pytest.mark.parametrize("usd", [-1, "1", 1e300, True, None])
def test_numbers_that_are_none_are_passed_over(usage: object, usd: object) -> None:
    text = json.dumps({"type": "result", "total_cost_usd": usd, "usage": usage, "result": 7})
    assert read_printed(text) == Printed()


def test_what_is_no_json_and_what_is_too_much_of_it_are_text() -> None:
    deep = "{" + '"a":[' * 100_000
    assert read_printed(deep).cost == Cost()
    whole = json.dumps({"type": "result", "total_cost_usd": 1, "usage": {"input_tokens": 10**40, "output_tokens": 1}})
    assert read_printed(whole).cost.tokens_in == MAX_INTEGER
    assert read_printed("Tokens: 1.2.3k sent, x received.").cost == Cost()
