"""One coding agent: its command, its environment, the ports and files that it needs, and its login."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from agents.coding.known import KNOWN_AGENTS, KnownAgent
from agents.coding.programs import start_words
from agents.coding.run_folder import TASK, RunFolder
from mesh.agent.command_runner import SandboxedCommand
from mesh.errors import BadInput

_SEEN = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_QUIET = {"CI": "1", "TERM": "dumb", "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0", "PYTHONDONTWRITEBYTECODE": "1"}
_PORTS = (53, 80, 443)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class RunLimits(msgspec.Struct, frozen=True):
    """What one run may take: seconds, memory and disk in megabytes."""

    seconds: float
    memory_mb: float
    disk_mb: float


class CodingAgent:
    """A command that stands for a coding agent.

    Args:
        command: the name of a known agent, or a command line with `{prompt}` or `{prompt_file}` in it.
        model: the model that it is told to use, "" for its own choice.
        env: names of more variables that it may see.
        read: more paths that it may read.
        ports: more TCP ports that it may connect to.

    Raises:
        BadInput: the command cannot be started.
    """

    def __init__(
        self,
        command: str,
        *,
        model: str = "",
        env: Sequence[str] = (),
        read: Sequence[Path] = (),
        ports: Sequence[int] = (),
    ) -> None:
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise BadInput(f"--command is not a valid command line: {error}") from None
        if not words:
            raise BadInput(f"--command is empty; use a known agent ({', '.join(KNOWN_AGENTS)}) or a command line")
        first, slash, named = words[0].partition("/")
        if len(words) == 1 and slash and first in KNOWN_AGENTS and not Path(words[0]).exists():
            words, model = (first,), model or named
        self.name = _name_of(words)
        self.entry = KNOWN_AGENTS.get(self.name, KnownAgent(words=(), prints_usd=True, prints_tokens=True))
        self.is_known = self.name in KNOWN_AGENTS
        if self.is_known and len(words) == 1:
            words, self._optional = (words[0], *self.entry.words[1:]), self.entry.optional
        else:
            self._optional = ()
            _check_braces(words)
        self._started, self._read = start_words(words)
        self._read = (*self._read, *read)
        self._model, self._more_env, self._ports = model, tuple(env), tuple(ports)
        self.model = f"{self.name}/{model}" if model else self.name

    def command(self, run: RunFolder, files: Sequence[str], limits: RunLimits, usd: float | None) -> SandboxedCommand:
        """Return one run of it, and lend it its login.

        Args:
            run: the folder of the run.
            files: the editable files.
            limits: what it may take.
            usd: the dollars that are left, None without such a limit.
        """
        env = self._environment(run)
        prompt = (
            f"Read the file {run.work / TASK} first: it is your task. Work only in the folder {run.work}. "
            "Nobody can answer questions. Stop when the task is done."
        )
        filled = {
            "{prompt}": prompt,
            "{prompt_file}": str(run.work / TASK),
            "{folder}": str(run.work),
            "{seconds}": f"{limits.seconds:.0f}",
            "{model}": self._model,
            "{usd}": "" if usd is None else f"{max(usd, 0.01):.2f}",
            "{openai_base_url}": env.get("OPENAI_BASE_URL", ""),
        }
        words = [*self._started]
        for part in self._optional:
            if all(filled[brace] for brace in filled if any(brace in word for word in part)):
                words += part
        return SandboxedCommand(
            words=tuple(each for word in words for each in _filled(word, filled, files)),
            env=env,
            folder=run.work,
            read=(*self._read, *_certificates(env)),
            write=(run.work, run.home, run.tmp),
            tmp=run.tmp,
            watch=run.path,
            ports=tuple(dict.fromkeys([*_PORTS, *self._ports, *_ports_of(env)])),
            deadline_s=limits.seconds,
            memory_mb=limits.memory_mb,
            disk_mb=limits.disk_mb,
        )

    def _environment(self, run: RunFolder) -> dict[str, str]:
        proxies = [*_PROXIES, *(name.lower() for name in _PROXIES)]
        names = (*_SEEN, *proxies, *self.entry.env, *self._more_env)
        env = {name: value for name in names if (value := os.environ.get(name))}
        env |= {name: env[other] for name, other in self.entry.same.items() if other in env and name not in env}
        env |= _QUIET | self.entry.variables
        env |= {"HOME": str(run.home), "TMPDIR": str(run.tmp), "USER": "mesh", "LOGNAME": "mesh"}
        has_key = any(name in env for name in self.entry.env if name.endswith(("KEY", "TOKEN")))
        if has_key:
            run.furnish(self.entry.with_key)
        elif run.lend(Path.home(), self.entry.logins):
            env |= self.entry.with_login
        return env


def _name_of(words: Sequence[str]) -> str:
    """Return how an agent is called: its program, or the script that an interpreter runs."""
    program = Path(words[0]).name
    is_script = program.startswith(("python", "node", "bash", "sh")) and len(words) > 1 and Path(words[1]).is_file()
    return Path(words[1]).stem if is_script else program


def _check_braces(words: Sequence[str]) -> None:
    text = " ".join(words[1:])
    if not any(brace in text for brace in ("{prompt}", "{prompt_file}")):
        known = f"the name of a known agent ({', '.join(KNOWN_AGENTS)})"
        raise BadInput(
            f"--command {shlex.join(words)[:200]!r} does not say where the task goes; write {{prompt}} (one sentence) "
            f"or {{prompt_file}} (the path of the task) into it, or use {known} alone"
        )


def _filled(word: str, filled: Mapping[str, str], files: Sequence[str]) -> list[str]:
    if word == "{files}":
        return [*files]
    for brace, value in filled.items():
        word = word.replace(brace, value)
    return [word]


def _ports_of(env: Mapping[str, str]) -> list[int]:
    """Return the ports of the addresses in variables, such as that of a model server or a proxy."""
    found = []
    for name, value in env.items():
        if name.upper().endswith(("_URL", "_BASE", "_PROXY")):
            try:
                parts = urlsplit(value)
                port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
            except ValueError:
                continue
            found += [port] if port else []
    return found


def _certificates(env: Mapping[str, str]) -> list[Path]:
    return [Path(env[name]) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS") if name in env]
