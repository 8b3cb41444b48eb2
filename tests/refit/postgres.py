"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port, for this machine.

Run it to see that there is what it needs, or to have it installed:

    python tests/refit/postgres.py            # exit code 0 if a server can be started
    python tests/refit/postgres.py --install  # Debian, Ubuntu; as root
"""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INSTALL = "apt-get install -y postgresql"
_PATIENCE = 60.0


def binaries() -> Path | None:
    """The folder with initdb and postgres, of the newest version; None if there is none."""
    found = [str(Path(p).resolve().parent) for p in [shutil.which("initdb")] if p]
    found += glob.glob("/usr/lib/postgresql/*/bin")
    found = [f for f in found if (Path(f) / "initdb").exists() and (Path(f) / "postgres").exists()]
    numbers = {f: [int(n) for n in re.findall(r"\d+", f)] for f in found}
    return Path(max(found, key=lambda f: numbers[f])) if found else None


class Server:
    """Start it, stop it, start it again on the same port."""

    user = "clv"

    def __init__(self, folder: Path, bin: Path) -> None:
        self.password = f"p@ss/{secrets.token_hex(6)}"
        self._bin, self._folder = bin, folder
        self._data = folder / "data"
        self._log = folder / "log"
        # initdb refuses root; the files of a system user are its own.
        self._owner = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        if self._owner:
            shutil.chown(folder, self._owner)
        secret = folder / "password"
        secret.write_text(self.password)
        if self._owner:
            shutil.chown(secret, self._owner)
        self._run("initdb", "-D", str(self._data), "-U", self.user, "--pwfile", str(secret))

    def _run(self, program: str, *words: str) -> None:
        command = [
            str(self._bin / program),
            *words,
            "--auth=scram-sha-256",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        done = subprocess.run(
            command, user=self._owner, cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._bin / "postgres"), "-D", str(self._data)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"),
                    *("-c", f"unix_socket_directories={self._folder}", "-c", "fsync=off"),
                ],
                user=self._owner,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + _PATIENCE
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, ending its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": it does not wait for clients
            self._process.wait(_PATIENCE)
            self._process = None

    def url(self, password: str | None = None, database: str = "postgres") -> str:
        """Its address; a password may be a name such as ``${PGPASSWORD}``."""
        from urllib.parse import quote

        secret = quote(self.password, safe="") if password is None else password
        return f"postgresql://{self.user}:{secret}@127.0.0.1:{self.port}/{database}"

    def _listens(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_folder() -> Path:
    """A folder that the server's user can reach, whatever the temporary folder of the tests is."""
    return Path(tempfile.mkdtemp(prefix="clvpredict-postgres-", dir="/tmp"))


def main() -> int:
    """Look for the server's programs; install them if asked to."""
    if binaries() is None and "--install" in sys.argv[1:] and os.geteuid() == 0:
        if shutil.which("apt-get") is None:
            print("There is no apt-get here; install PostgreSQL's server.", file=sys.stderr)
            return 1
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
        subprocess.run([*INSTALL.split(), "-qq"], env=quiet, check=True)
    found = binaries()
    if found is None:
        print(f"PostgreSQL's server is not installed. As root: {INSTALL}", file=sys.stderr)
        return 1
    print(f"PostgreSQL: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
