"""Where requests go: bases and targets to the byte, and what the environment may and may not change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from scrimp.errors import ConfigError, UpstreamUnavailable
from scrimp.upstream.address import base_of, proxy_from_environment, url_below, without_credentials
from scrimp.upstream.client import UpstreamRequest
from scrimp.upstream.network import AiohttpUpstream

#: A certificate for this machine, and its key: public, and of no use to anybody else.
CERTIFICATE = Path(__file__).with_name("localhost.pem")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no proxy or authority of the developer's own into the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# --- bases and targets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["", "api.anthropic.com", "ftp://x", "http://", "https:///v1", "http://x:99999", "http://[", "http://x?a=1"]
)
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    """A base URL needs a scheme and a host, and nothing after its path."""
    with pytest.raises(ConfigError, match="address"):
        base_of(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    """Credentials belong into headers; the error does not print them."""
    with pytest.raises(ConfigError, match="may hold no password") as caught:
        base_of("https://me:fake-secret@api.example")
    assert "fake-secret" not in str(caught.value)
    assert "https://api.example" in caught.value.hint


@pytest.mark.parametrize("url", ["ftp://me:fake-secret@x", "http://me:fake-secret@x:port", "http://me:fake/secret@"])
def test_no_error_repeats_a_password(url: str) -> None:
    """Nor where the address is none for another reason."""
    with pytest.raises(ConfigError) as caught:
        base_of(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/v1/messages"])
@pytest.mark.parametrize("base", ["https://api.example", "http://h:1/under/a"])
def test_what_every_client_writes_is_no_part_of_a_base(base: str, end: str) -> None:
    """Requests would go to /v1/v1/messages; the error names the address that was meant."""
    with pytest.raises(ConfigError, match="which every client adds itself") as caught:
        base_of(base + end)
    assert f"Give {base} instead." == caught.value.hint
    assert "/v11" == base_of("http://h/v11").raw_path


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example/a", "https://api.example/a"),
        ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
        ("http://[::1]:4000/a", "http://[::1]:4000/a"),
        ("https://me:fake-secret@h/a", "https://h/a"),
        ("https://fake-secret@h", "https://h"),
        ("https://me:fake/sec?r#et@h:1/a", "https://h:1/a"),
        ("https://me:fake@secret@h", "https://h"),
        ("me:fake-secret@h/a", "h/a"),
        ("https://h/a?key=fake-secret#secret", "https://h/a"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_credentials(url: str, shown: str) -> None:
    """Nothing that may be a secret is left; a plain address is as it was."""
    assert shown == without_credentials(url)


@given(st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True), st.text(st.characters(codec="ascii"), min_size=1))
def test_no_password_is_ever_shown(user: str, noise: str) -> None:
    """Whatever characters it holds, encoded or not."""
    assert "http://h/x" == without_credentials(f"http://{user}:{noise}SECRET{noise}@h/x")


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("/v1/a%2Fb/%7euser?x=%20+%zz&y=a,b:c", "/v1/a%2Fb/%7euser?x=%20+%zz&y=a,b:c"),
        ("//v1/../messages/.", "//v1/../messages/."),
        ("/v1/messages?a?b=c", "/v1/messages?a?b=c"),
        ("/v1/{x}|\\^", "/v1/{x}|\\^"),
        ("/v1/caf\xe9", "/v1/caf%E9"),
        ("*", "/*"),
    ],
)
@pytest.mark.parametrize(
    ("base", "prefix"), [("http://h", ""), ("http://h/a%20b/c", "/a%20b/c"), ("http://h/a/", "/a")]
)
def test_a_target_is_not_encoded_anew(base: str, prefix: str, target: str, line: str) -> None:
    """Below the base's own path, escapes, dots and slashes stay; only a byte no request line can hold is escaped."""
    assert prefix + line == url_below(base_of(base), target).raw_path_qs


# --- proxies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "base", "proxy"),
    [
        ({}, "https://api.example", None),
        ({"https_proxy": "http://p:3128"}, "https://api.example", "http://p:3128"),
        ({"https_proxy": "p:3128"}, "https://api.example", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://api.example", "http://p:3128"),
        ({"all_proxy": "http://p:3128"}, "https://api.example", "http://p:3128"),
        ({"https_proxy": "http://p:3128"}, "http://api.example", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "api.example"}, "https://api.example", None),
        ({"https_proxy": "http://p:3128", "no_proxy": ".example"}, "https://api.example", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "*"}, "https://api.example", None),
        ({"http_proxy": "http://p:3128", "no_proxy": "127.0.0.1"}, "http://127.0.0.1:8080", None),
    ],
)
def test_the_usual_variables_choose_the_proxy(
    variables: dict[str, str], base: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY, HTTP_PROXY and ALL_PROXY choose by scheme, in either case; NO_PROXY exempts hosts."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (URL(proxy) if proxy else None) == proxy_from_environment(URL(base))


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy is refused by its kind at once, without its password, instead of at the first request."""
    monkeypatch.setenv("all_proxy", "socks5://me:fake-secret@p:1080")
    with pytest.raises(ConfigError, match="A socks5 proxy cannot be used") as caught:
        AiohttpUpstream("https://api.example")
    assert "fake-secret" not in str(caught.value)


class OneAnswer:
    """A server that answers every request with an empty 200 and keeps what arrived."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    async def start(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.Server, str]:
        """Begin to listen; return the server and its base URL."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=tls)
        return server, f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


async def _get(upstream: AiohttpUpstream, target: str = "/") -> int:
    try:
        response = await upstream.send(UpstreamRequest("GET", target, [(b"X-A", b"1")]))
        await response.aclose()
    finally:
        await upstream.aclose()
    return response.status


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With HTTP_PROXY the request goes to the proxy, in absolute form and otherwise unchanged."""

    async def scenario() -> bytes:
        proxy = OneAnswer()
        server, url = await proxy.start()
        monkeypatch.setenv("http_proxy", url)
        async with server:
            await _get(AiohttpUpstream("http://api.example/base"), "/v1/%7Ea?b=%20")
        return proxy.heads[0]

    expected = b"GET http://api.example/base/v1/%7Ea?b=%20 HTTP/1.1\r\nHost: api.example\r\nX-A: 1\r\n\r\n"
    assert expected == asyncio.run(scenario())


@pytest.mark.parametrize("trust_env", [False, True])
def test_nothing_else_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, trust_env: bool
) -> None:
    """A .netrc never becomes a header that the client did not send; an untrusted environment names no proxy."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password fake-secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if not trust_env:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def scenario() -> bytes:
        there = OneAnswer()
        server, url = await there.start()
        async with server:
            await _get(AiohttpUpstream(url, trust_env=trust_env))
        return there.heads[0].split(b"\r\n", 2)[2]

    assert b"X-A: 1\r\n\r\n" == asyncio.run(scenario())


# --- trust -----------------------------------------------------------------------------------------------------------


async def _get_over_tls() -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server, url = await OneAnswer().start(context)
    async with server:
        return await _get(AiohttpUpstream(url))


def test_a_private_authority_is_trusted_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SSL_CERT_FILE an upstream behind a private certificate is reached over TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert 200 == asyncio.run(_get_over_tls())


def test_an_unknown_authority_is_refused() -> None:
    """Without it the certificate is not trusted, and the sentence says so."""
    with pytest.raises(UpstreamUnavailable, match="its certificate is not trusted: self-signed certificate"):
        asyncio.run(_get_over_tls())
