"""One writer per directory: of a run, of embeddings, of an index."""

import os
import socket
from pathlib import Path
from types import TracebackType

from erlangen.train.errors import RunDirectoryError

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system: the lock file names its owner but does not exclude
    fcntl = None  # type: ignore[assignment]


class RunLock:
    """Holds `directory/run.lock` while the context is open.

    The lock is the kernel's (`flock`), so that a killed process leaves none behind; the file names the owner for the
    error message of whoever comes second. `argument` is what that caller calls the directory.
    """

    def __init__(self, directory: Path, argument: str = "out") -> None:
        self.path = directory / "run.lock"
        self.argument = argument
        self._descriptor: int | None = None

    def __enter__(self) -> "RunLock":
        descriptor = self._locked()
        while not self._stands(descriptor):  # its last owner took the file away: what is locked is nobody's
            os.close(descriptor)
            descriptor = self._locked()
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode())
        self._descriptor = descriptor
        return self

    def _locked(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                raise RunDirectoryError(
                    f"{self.argument}: {str(self.path.parent)!r} is in use by {owner}; "
                    "wait for it or choose another directory"
                ) from None
        return descriptor

    def _stands(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)  # closing releases the lock
            self._descriptor = None
