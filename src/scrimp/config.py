"""Settings: defaults, then the file, then the environment (`SCRIMP_*`), then the command line's flags.

The file is TOML with the names of `Settings` at its top level::

    mode = "observe"
    upstream = "https://api.anthropic.com"
    port = 4000

It is looked for in $SCRIMP_CONFIG, else in $XDG_CONFIG_HOME/scrimp/config.toml (~/.config/scrimp/config.toml).
A name that we do not know is an error wherever it stands: a typing mistake must not become a default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from scrimp.errors import ConfigError

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]

#: The most processes that serve one address; each keeps a ledger writer and beliefs of its own.
WORKERS_MAX = 64
Workers = Annotated[int, msgspec.Meta(ge=1, le=WORKERS_MAX)]

#: The longest request that is read by default, in bytes: the API takes none that is longer (its errors page, 413).
BODY_LIMIT_BYTES = 32 * 1024 * 1024
#: The longest settings file; long ones of dotted keys take a parser of TOML seconds.
FILE_BYTES_MAX = 64 * 1024

#: Begins the name of every environment variable that we read.
PREFIX = "SCRIMP_"

#: The variables of ours that are no settings: where the file is, and the key that `scrimp doctor --gateway` uses.
FILE_VARIABLE = "SCRIMP_CONFIG"
DOCTOR_KEY_VARIABLE = "SCRIMP_DOCTOR_KEY"
_NO_SETTINGS = frozenset({FILE_VARIABLE, DOCTOR_KEY_VARIABLE})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway needs to know before it starts; every limit has its unit in its name.

    * `mode` is what may be done to a request: "observe" changes nothing, "safe" only what cannot change an answer.
    * `upstream` is the base URL of the Claude API, its path prefix included.
    * `db` is the ledger, a path or a URL (`sqlite:///`, `postgresql://`); `load_settings` puts the user's own one where
      none is set.
    * `host` and `port` are where the gateway listens; port 0 takes a free one.
    * `workers` is how many processes serve that address; the limits below hold for each of them.
    * `hosts` are more names, separated by commas, that a gateway on loopback answers to (see `gateway.hosts`).
    * `trust_env` lets HTTPS_PROXY, HTTP_PROXY and NO_PROXY decide how the upstream is reached.
    * `body_limit_bytes` is the longest request that is read; a longer one is forwarded as it comes, unplanned.
    * `connections_limit_count` is how many requests may be at the upstream at once; more of them wait.
    * `connect_timeout_ms` is how long the upstream may take to accept a connection.
    * `ledger_queue_limit_exchanges` is how many exchanges may wait for a slow disk.
    * `retention_days` is after how many days a finished exchange is deleted from the ledger; None keeps it for ever.
    * `order` lets "safe" move text that changes in every request from the head of the system prompt to the end of the
      request, and sort tools whose order drifts; off, such text is only reported with its price.
    * `hold` lets "safe" ping a cache through a pause that is likely to end: with the last request of a conversation,
      sent once more without output.
    * `upgrade_ping` lets the first such ping ask for an hour; it rests on a reading of the API's documentation that
      nobody has proven, so try it on your own key first.
    * `learn_from` is a file or folder of past sessions, "own" for your own, from which `scrimp up` learns once, as it
      starts, how long its people's pauses last; nothing is read unless this is set.
    """

    mode: Literal["observe", "safe"] = "observe"
    upstream: str = "https://api.anthropic.com"
    db: str = ""
    host: str = "127.0.0.1"
    hosts: str = ""
    port: Port = 4000
    workers: Workers = 1
    trust_env: bool = True
    body_limit_bytes: Positive = BODY_LIMIT_BYTES
    connections_limit_count: Positive = 1_024
    connect_timeout_ms: Positive = 10_000
    ledger_queue_limit_exchanges: Positive = 10_000
    retention_days: Positive | None = None
    order: bool = False
    hold: bool = True
    upgrade_ping: bool = False
    learn_from: str = ""


_TYPES = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def _folder(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    """Return an XDG base folder; one that is not absolute is ignored (XDG base directory specification)."""
    given = Path(environ.get(variable, ""))
    return given if given.is_absolute() else Path(environ.get("HOME") or Path.home()) / fallback


def default_ledger_path(environ: Mapping[str, str]) -> Path:
    """Return where the user's own ledger lives: $XDG_DATA_HOME/scrimp/ledger.db or ~/.local/share/scrimp/ledger.db."""
    return _folder(environ, "XDG_DATA_HOME", ".local/share") / "scrimp" / "ledger.db"


def default_config_path(environ: Mapping[str, str]) -> Path:
    """Return where the user's settings live: $XDG_CONFIG_HOME/scrimp/config.toml or ~/.config/scrimp/config.toml."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config") / "scrimp" / "config.toml"


def _nearest(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Return a hint that names the nearest valid name, or all of them where none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else f"It may be: {', '.join(known)}."


def _checked(name: str, value: Any, where: str, *, strict: bool) -> Any:
    """Return one setting's value in its own type; an unknown name or an unusable value raises `ConfigError`."""
    if name not in _TYPES:
        raise ConfigError(f"{where} is no setting of Scrimp.", _nearest(name, _TYPES))
    kind = _TYPES[name]
    try:
        return msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, UnicodeError) as error:
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        hint = _nearest(str(value), choices) if choices else ""
        raise ConfigError(f"{where} cannot be {value!r}: {str(error)[:1].lower()}{str(error)[1:]}.", hint) from None


def _from_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        if path.is_file() and path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"The settings file {path} is longer than {FILE_BYTES_MAX} bytes.", "Name another file.")
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"There is no settings file at {path}.", f"Make it, or unset {FILE_VARIABLE}.") from None
        return {}
    except OSError as error:
        raise ConfigError(f"The settings file {path} cannot be read ({error.strerror}).", "Mend its rights.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The settings file {path} is not TOML ({error}).", "Mend that line.") from error
    return {name: _checked(name, value, f"{name} in {path}", strict=True) for name, value in found.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    ours = {key: value for key, value in environ.items() if key.startswith(PREFIX) and key not in _NO_SETTINGS}
    named = {key.removeprefix(PREFIX).lower(): (key, value) for key, value in ours.items()}
    return {name: _checked(name, value, key, strict=False) for name, (key, value) in named.items()}


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Return the settings; a flag that is None was not given.

    Raises `ConfigError`, in one sentence, for a name or a value that cannot be used and for an unreadable file.
    """
    given = environ.get(FILE_VARIABLE)
    path = Path(given).expanduser() if given else default_config_path(environ)
    from_flags = {
        name: _checked(name, value, f"--{name.replace('_', '-')}", strict=True)
        for name, value in flags.items()
        if value is not None
    }
    layers = {**_from_file(path, must_exist=bool(given)), **_from_environment(environ), **from_flags}
    return Settings(**{**layers, "db": layers.get("db") or str(default_ledger_path(environ))})
