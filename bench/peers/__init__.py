"""The gateways that benchmarks run beside one another, each as it is installed, on loopback.

`scrimp`, `nginx` and `litellm(route)` are context managers: given an upstream and an empty folder they yield what is
`Running`, or raise `Absent` with the line that brings it. $LITELLM may say where LiteLLM's command is, $NGINX where
nginx is. `kept` holds on to the figures of a gateway that was measured before and is not there now; `bodies` makes
requests; `blocked` is a gateway of ours that times its own event loop.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scrimp import __version__

#: How long a gateway may take to start, and to stop, in seconds.
START_SECONDS, STOP_SECONDS = 120, 20
OURS = "Scrimp"


class Absent(Exception):
    """A gateway that is not installed here; the message is the line that brings it."""


@dataclass(frozen=True)
class Running:
    """A gateway that listens: where, which version, as which process, and what it asks of its clients."""

    url: str
    version: str
    pid: int
    key: str | None = None


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def output_of(*command: str) -> str:
    """Return what a command prints, on whichever stream."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


@contextmanager
def process(command: list[str], url: str, folder: Path, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Run a server until the context ends; yields its process once anything answers at `url`."""
    with (folder / "server.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | (environment or {}))
        try:
            await_answer(url, running, folder / "server.log")
            yield running.pid
        finally:
            running.terminate()
            running.wait(STOP_SECONDS)


def await_answer(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    """Return once something answers at `url`; raise where the server ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and running.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - a server of ours on loopback
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"{running.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def scrimp(upstream: str, folder: Path) -> Iterator[Running]:
    """Run ours as `scrimp up` does."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "scrimp", "up", "--port", str(port), "--upstream", upstream]
    environment = {"HOME": str(folder), "SCRIMP_DB": str(folder / "ledger.db"), "NO_PROXY": "*"}
    with process(command, f"{url}/healthz", folder, environment) as pid:
        yield Running(url, __version__, pid)


NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; client_max_body_size 64m;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream api {{ server {upstream}; keepalive 128; }}
  server {{
    listen 127.0.0.1:{port};
    location = /nginx-is-here {{ return 204; }}
    location / {{
      proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


@contextmanager
def nginx(upstream: str, folder: Path) -> Iterator[Running]:
    """Run nginx as a reverse proxy that buffers nothing."""
    program = os.environ.get("NGINX") or shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not program:
        raise Absent("apt-get install nginx-light")
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(upstream=upstream.removeprefix("http://"), port=port))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with process(command, f"http://127.0.0.1:{port}/nginx-is-here", folder) as pid:
        yield Running(f"http://127.0.0.1:{port}", output_of(program, "-v").rpartition("/")[2].strip(), pid)


#: The wildcard serves every model under its own name; nothing is retried, cached, logged or sent home.
LITELLM = """
model_list:
  - model_name: "*"
    litellm_params: {{model: "anthropic/*", api_base: "{upstream}", api_key: sk-fake-upstream}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
litellm_settings: {{telemetry: false, num_retries: 0, request_timeout: 600}}
general_settings: {{master_key: os.environ/LITELLM_MASTER_KEY}}
"""
LITELLM_KEY = "sk-fake-conformance-of-a-gateway"


def litellm(route: str) -> Callable[[str, Path], AbstractContextManager[Running]]:
    """Return how to run LiteLLM's proxy, asked at this route of its own."""

    @contextmanager
    def run(upstream: str, folder: Path) -> Iterator[Running]:
        program = os.environ.get("LITELLM") or shutil.which("litellm")
        if not program:
            raise Absent("python3 -m venv DIR && DIR/bin/pip install 'litellm[proxy]'; export LITELLM=DIR/bin/litellm")
        port = free_port()
        (folder / "litellm.yaml").write_text(LITELLM.format(upstream=upstream))
        command = [program, "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        environment = {
            "HOME": str(folder),
            "LITELLM_MASTER_KEY": LITELLM_KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "ANTHROPIC_API_BASE": upstream,
            "ANTHROPIC_API_KEY": "sk-fake-upstream",
            "NO_PROXY": "*",
        }
        url = f"http://127.0.0.1:{port}"
        with process([*command, "--num_workers", "1"], f"{url}/health/liveliness", folder, environment) as pid:
            shown = output_of(str(Path(program).with_name("python")), "-m", "pip", "show", "litellm")
            version = next(line.split()[1] for line in shown.splitlines() if line.startswith("Version:"))
            yield Running(url + route, version, pid, LITELLM_KEY)

    return run
