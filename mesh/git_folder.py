"""What git says of the files in a folder: which it tracks, which it ignores, and which are submodules.

The folder may be a repository, a worktree or a part of a larger repository. Only the index and the files with patterns
are read, never objects.
"""

import os
from pathlib import Path


class GitFolder:
    """The repository of a folder, if it has one that can be read and does not ignore the folder itself."""

    def __init__(self, folder: Path) -> None:
        """Read the index of the repository that the folder is in."""
        self.is_here, self.unread = False, ""
        self.links: list[str] = []
        self._tracked, self._above = set[str](), set[str]()
        self._folder, self._prefix = folder, ""
        real = folder.resolve()
        found = next((parent / ".git" for parent in (real, *real.parents) if os.path.lexists(parent / ".git")), None)
        if found is None:
            return
        parts = (found, found / "index", found / "HEAD")
        self.unread = next((str(each) for each in parts if os.path.lexists(each) and not os.access(each, os.R_OK)), "")
        import pygit2

        try:
            repository = pygit2.Repository(str(real))
            inside = real.relative_to(Path(repository.workdir or "/").resolve()).as_posix()
            self._prefix = "" if inside == "." else f"{inside}/"
            if self._prefix and repository.path_is_ignored(self._prefix):
                return
            entries = [(entry.path, entry.mode) for entry in repository.index]
            self._is_sparse = "core.sparsecheckout" in repository.config and repository.config.get_bool(
                "core.sparsecheckout"
            )
        except (pygit2.GitError, ValueError, OSError):
            return
        self._repository, self._error = repository, pygit2.GitError
        self.is_here = True
        for path, mode in entries:
            if path.startswith(self._prefix):
                name = path.removeprefix(self._prefix)
                self._tracked.add(name)
                if mode == pygit2.enums.FileMode.COMMIT:
                    self.links.append(name)
                parts = name.split("/")[:-1]
                self._above.update("/".join(parts[: n + 1]) for n in range(len(parts)))

    def tracks(self, path: str) -> bool:
        """Tell whether git tracks a file, something below a folder, or the submodule that it is in."""
        return (
            path in self._tracked
            or path in self._above
            or any(path.startswith(f"{link}/") and ".git" not in path for link in self.links)
        )

    def ignores(self, path: str, is_dir: bool) -> bool:
        """Tell whether git ignores a file or folder."""
        try:
            return bool(self._repository.path_is_ignored(f"{self._prefix}{path}{'/' if is_dir else ''}"))
        except (self._error, ValueError):  # a name that is not UTF-8
            return False

    def missing(self) -> list[str]:
        """Return the files that git tracks and that are not here, because the checkout is sparse."""
        if not self.is_here or not self._is_sparse:
            return []
        return sorted(name for name in self._tracked if not os.path.lexists(self._folder / name))
