"""The coding agents that are known, each as a list of arguments for a run without a terminal, with its source.

`--command claude` stands for the words of the table, and `claude/opus` also names a model. A command line, such as
`claude -p {prompt} …`, is taken as it is, with the rest of the entry. Any other program has an entry without keys and
logins. The flags change with every few releases: each entry says which version was tried and where they are described.

Words in braces are filled in: `{prompt}` is one sentence that says where the task is, `{prompt_file}` the file with it,
`{folder}` the folder, `{files}` the editable files as words, `{seconds}` the time limit, `{model}` the option `model`,
`{usd}` what may still be spent, `{openai_base_url}` that variable. A part that needs one of the last three is left out
where there is none.
"""

import msgspec

CODER_OPTIONS = ("minutes", "memory_gb", "disk_gb", "task_tokens", "env", "read", "ports", "run_usd")
"""Options of a coder; `mesh up --coder` gives them to it, and no others."""


class KnownAgent(msgspec.Struct, frozen=True, kw_only=True):
    """One coding agent.

    Attributes:
        words: its program and arguments.
        optional: more arguments, each part with the braces that it needs.
        env: variables of this process that it may see, beside those that every command sees.
        variables: variables that it is given.
        same: variables that it is given with the value of another one, if they are not set.
        logins: files of the home that are copied to its own home, unless one of `env` that ends in KEY or TOKEN is set.
        with_login: variables that it is given with these files.
        with_key: files of its own home that it is given without them, by path.
        prints_usd: whether it prints dollars.
        prints_tokens: whether it prints tokens.
        tried: the version that was seen to make a proposal with these words, in the sandbox and with a model server of
            ours; "" if none was.
        source: where the flags are described.
    """

    words: tuple[str, ...]
    optional: tuple[tuple[str, ...], ...] = ()
    env: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    same: dict[str, str] = {}
    logins: tuple[str, ...] = ()
    with_login: dict[str, str] = {}
    with_key: dict[str, str] = {}
    prints_usd: bool = True
    prints_tokens: bool = True
    tried: str = ""
    source: str = ""


_OPENAI = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE")
_ANTHROPIC = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
_GOOGLE = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_MANY = (*_OPENAI, *_ANTHROPIC, *_GOOGLE, "OPENROUTER_API_KEY", "DEEPSEEK_API_KEY", "MISTRAL_API_KEY", "XAI_API_KEY")

KNOWN_AGENTS: dict[str, KnownAgent] = {
    "claude": KnownAgent(
        words=("claude", "-p", "{prompt}", "--output-format", "json", "--permission-mode", "bypassPermissions"),
        optional=(("--no-session-persistence",), ("--model", "{model}"), ("--max-budget-usd", "{usd}")),
        env=(*_ANTHROPIC, "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
        variables={
            "IS_SANDBOX": "1",  # without it, root may not bypass permissions
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        logins=(".claude/.credentials.json", ".claude.json"),
        tried="2.1.197",
        source="https://code.claude.com/docs/en/headless and /cli-reference",
    ),
    "codex": KnownAgent(
        words=("codex", "exec", "--json", "--skip-git-repo-check", "--ephemeral"),
        optional=(
            ("--dangerously-bypass-approvals-and-sandbox",),  # its own sandbox cannot start in ours
            ("--config", 'openai_base_url="{openai_base_url}"'),
            ("--model", "{model}"),
            ("{prompt}",),
        ),
        env=(*_OPENAI, "CODEX_API_KEY"),
        same={"CODEX_API_KEY": "OPENAI_API_KEY"},
        logins=(".codex/auth.json",),
        prints_usd=False,
        tried="0.171.0",
        source="https://developers.openai.com/codex/noninteractive and `codex exec --help`",
    ),
    "gemini": KnownAgent(
        words=("gemini", "-p", "{prompt}", "--output-format", "json", "--approval-mode", "yolo", "--skip-trust"),
        optional=(("--model", "{model}"),),
        env=(*_GOOGLE, "GOOGLE_GEMINI_BASE_URL", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"),
        logins=(".gemini/oauth_creds.json", ".gemini/google_accounts.json"),
        with_login={"GOOGLE_GENAI_USE_GCA": "true"},
        with_key={".gemini/settings.json": '{"security": {"auth": {"selectedType": "gemini-api-key"}}}'},
        prints_usd=False,
        tried="0.61.0",
        source="https://geminicli.com/docs/cli/headless and `gemini --help`",
    ),
    "opencode": KnownAgent(
        words=("opencode", "run", "--format", "json", "--auto"),
        optional=(("--model", "{model}"), ("{prompt}",)),
        env=(*_MANY, "OPENCODE_CONFIG_CONTENT", "OPENCODE_API_KEY"),
        variables={"OPENCODE_DISABLE_AUTOUPDATE": "1"},
        logins=(".local/share/opencode/auth.json",),
        tried="1.18.33",
        source="https://opencode.ai/docs/cli and `opencode run --help`",
    ),
    "aider": KnownAgent(
        words=("aider", "--message-file", "{prompt_file}", "--yes-always", "--no-git", "--no-pretty", "--no-stream"),
        optional=(
            ("--no-check-update", "--no-show-release-notes", "--no-show-model-warnings", "--analytics-disable"),
            ("--no-suggest-shell-commands", "--no-detect-urls"),
            ("--model", "{model}"),
            ("{files}",),
        ),
        env=_MANY,
        tried="0.86.2",
        source="https://aider.chat/docs/scripting.html and `aider --help`",
    ),
    "openclaw": KnownAgent(
        words=("openclaw", "agent", "exec", "--json", "--cwd", "{folder}", "--timeout", "{seconds}"),
        optional=(("--model", "{model}"), ("{prompt}",)),
        env=_MANY,
        logins=(".openclaw/openclaw.json", ".openclaw/agents/main/agent/auth-profiles.json"),
        tried="2026.9.6",
        source="https://docs.openclaw.ai/cli/agent and `openclaw agent exec --help`",
    ),
}
"""The known agents by the name of their program."""
