"""Settings come from four layers, each over the one before, and every mistake is one sentence with a way out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.config import Settings, default_config_path, default_ledger_path, load_settings
from scrimp.errors import ConfigError

NAMES = Settings.__struct_fields__


def _environ(tmp_path: Path, toml: str | bytes = b"", **variables: str) -> dict[str, str]:
    """Return an environment whose own settings file says `toml`."""
    path = tmp_path / "config.toml"
    path.write_bytes(toml.encode() if isinstance(toml, str) else toml)
    return {"HOME": str(tmp_path), "SCRIMP_CONFIG": str(path), **variables}


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    """No file, no environment, no flag: the defaults, with the user's own ledger."""
    environ = {"HOME": str(tmp_path)}
    expected = msgspec.structs.replace(Settings(), db=str(tmp_path / ".local/share/scrimp/ledger.db"))
    assert expected == load_settings({}, environ)


def test_each_layer_is_over_the_one_before(tmp_path: Path) -> None:
    """Defaults < file < environment < flags, setting by setting; a flag of None was not given."""
    toml = 'host = "a"\nport = 1\nupstream = "http://file"\n'
    environ = _environ(tmp_path, toml, SCRIMP_PORT="2", SCRIMP_UPSTREAM="http://environment")
    found = load_settings({"upstream": "http://flag", "mode": None}, environ)
    assert ("observe", "a", 2, "http://flag") == (found.mode, found.host, found.port, found.upstream)


@given(st.sets(st.sampled_from(["port", "connect_timeout_ms", "body_limit_bytes"])), st.integers(1, 65_535))
def test_a_number_means_the_same_in_every_layer(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], number: int
) -> None:
    """File, environment and flags agree on what a setting's value is."""
    folder = tmp_path_factory.mktemp("config")
    from_file = load_settings({}, _environ(folder, "".join(f"{name} = {number}\n" for name in names)))
    variables = {f"SCRIMP_{name.upper()}": str(number) for name in names}
    from_environment = load_settings({}, _environ(folder, **variables))
    from_flags = load_settings(dict.fromkeys(names, number), _environ(folder))
    assert from_file == from_environment == from_flags
    assert dict.fromkeys(names, number) == {name: getattr(from_file, name) for name in names}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("1", True), ("0", False)])
def test_a_switch_in_the_environment_is_a_word(tmp_path: Path, text: str, *, value: bool) -> None:
    """true, false, 1 and 0 mean what they say."""
    assert value is load_settings({}, _environ(tmp_path, SCRIMP_TRUST_ENV=text)).trust_env


@pytest.mark.parametrize(
    ("toml", "variables", "days"),
    [("", {}, None), ("retention_days = 90", {}, 90), ("retention_days = 90", {"SCRIMP_RETENTION_DAYS": "7"}, 7)],
)
def test_a_ledger_is_kept_for_ever_unless_told(
    tmp_path: Path, toml: str, variables: dict[str, str], days: int | None
) -> None:
    """A number of days in any layer; nothing is deleted by default."""
    assert days == load_settings({}, _environ(tmp_path, toml, **variables)).retention_days


@pytest.mark.parametrize(
    ("toml", "variables", "flags", "sentence", "hint"),
    [
        ("prot = 1", {}, {}, "prot in .* is no setting of Scrimp", "Did you mean port?"),
        ("", {"SCRIMP_UPSTEAM": "x"}, {}, "SCRIMP_UPSTEAM is no setting of Scrimp", "Did you mean upstream?"),
        ("", {}, {"zzz": 1}, "--zzz is no setting of Scrimp", "It may be: mode, upstream, db"),
        ("[gateway]\nport = 1", {}, {}, "gateway in .* is no setting of Scrimp", "It may be: "),
        ('port = "4000"', {}, {}, "port in .* cannot be '4000': expected `int`, got `str`", ""),
        ("port = 70000", {}, {}, "port in .* cannot be 70000: expected `int` <= 65535", ""),
        ("port = true", {}, {}, "port in .* cannot be True: expected `int`, got `bool`", ""),
        ("", {"SCRIMP_PORT": "many"}, {}, "SCRIMP_PORT cannot be 'many': expected `int`, got `str`", ""),
        ("", {"SCRIMP_MODE": "obsrve"}, {}, "SCRIMP_MODE cannot be 'obsrve'", "Did you mean observe?"),
        ("", {}, {"mode": "x"}, "--mode cannot be 'x'", "It may be: observe, safe."),
        ("connect_timeout_ms = 0", {}, {}, "connect_timeout_ms in .* cannot be 0: expected `int` >= 1", ""),
        ("", {"SCRIMP_RETENTION_DAYS": "0"}, {}, "SCRIMP_RETENTION_DAYS cannot be '0': expected `int` >= 1", ""),
        ("", {"SCRIMP_RETENTION_DAYS": "x"}, {}, "SCRIMP_RETENTION_DAYS cannot be 'x': expected `int | null`", ""),
        ("port =", {}, {}, "The settings file .* is not TOML", "Mend that line."),
        ("#" * 65_537, {}, {}, "The settings file .* is longer than 65536 bytes", "Name another file."),
        ("port = " + "[" * 5_000, {}, {}, "The settings file .* is not TOML", "Mend that line."),
        ("", {"SCRIMP_MODE": "\udcff"}, {}, "SCRIMP_MODE cannot be '.udcff'", ""),
    ],
)
def test_a_mistake_is_one_sentence_with_the_nearest_name(
    tmp_path: Path, toml: str, variables: dict[str, str], flags: dict[str, object], sentence: str, hint: str
) -> None:
    """Unknown names and wrong values say where they stand, what is wrong, and what would be right."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_settings(flags, _environ(tmp_path, toml, **variables))
    assert (True, False) == (caught.value.hint.startswith(hint), "\n" in caught.value.message)


def test_an_empty_ledger_is_none(tmp_path: Path) -> None:
    """A variable that is set to nothing leaves the user's own ledger."""
    environ = {"HOME": str(tmp_path), "SCRIMP_DB": ""}
    assert str(tmp_path / ".local/share/scrimp/ledger.db") == load_settings({}, environ).db


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    """A named file that is absent is an error; the default one may be absent."""
    with pytest.raises(ConfigError, match=r"There is no settings file at .*absent\.toml"):
        load_settings({}, {"HOME": str(tmp_path), "SCRIMP_CONFIG": str(tmp_path / "absent.toml")})


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    """A folder, or bytes that are no text, are named with their reason."""
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        load_settings({}, {"HOME": str(tmp_path), "SCRIMP_CONFIG": str(tmp_path)})
    with pytest.raises(ConfigError, match="is not TOML"):
        load_settings({}, _environ(tmp_path, b"\xff\xfe"))


def test_the_file_is_found_in_the_users_config_folder(tmp_path: Path) -> None:
    """$XDG_CONFIG_HOME/scrimp/config.toml is read without being named."""
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "conf")}
    path = default_config_path(environ)
    path.parent.mkdir(parents=True)
    path.write_text('host = "0.0.0.0"')
    assert (tmp_path / "conf/scrimp/config.toml", "0.0.0.0") == (path, load_settings({}, environ).host)  # noqa: S104 - a value


@pytest.mark.parametrize(
    ("xdg", "expected"), [("data", "data/scrimp/ledger.db"), (None, ".local/share/scrimp/ledger.db")]
)
def test_the_ledger_is_in_the_users_data_folder(tmp_path: Path, xdg: str | None, expected: str) -> None:
    """$XDG_DATA_HOME where it is set, else ~/.local/share."""
    environ = {"HOME": str(tmp_path)} | ({"XDG_DATA_HOME": str(tmp_path / xdg)} if xdg else {})
    assert tmp_path / expected == default_ledger_path(environ)


def test_a_relative_data_folder_is_ignored(tmp_path: Path) -> None:
    """The XDG specification: relative paths in these variables are invalid and have to be ignored."""
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": "relative"}
    assert tmp_path / ".local/share/scrimp/ledger.db" == default_ledger_path(environ)


def test_every_limit_names_its_unit() -> None:
    """A setting that is a number says in its name what it counts, except for the port and the workers."""
    fields = msgspec.structs.fields(Settings)
    numbers = [each.name for each in fields if type(each.default) is int and each.name not in {"port", "workers"}]
    assert [] == [name for name in numbers if not name.endswith(("_ms", "_bytes", "_count", "_exchanges"))]
    assert len(numbers) >= 4


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path) -> None:
    """The doctor's key may stand in the environment of every command."""
    environ = {"HOME": str(tmp_path), "SCRIMP_DOCTOR_KEY": "sk-x"}
    assert load_settings({}, environ) == load_settings({}, {"HOME": str(tmp_path)})
