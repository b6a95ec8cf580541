"""The head of an answer waits for the first bytes of its body, one turn of the loop at most, and keeps its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from scrimp.gateway.protocol import HeadHolder

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps each write."""

    def __init__(self) -> None:
        super().__init__({"peername": "somebody"})
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep one piece."""
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Keep several as one."""
        self.writes.append(b"".join(list_of_data))

    def close(self) -> None:
        """Note the end."""
        self.is_closed = True


def _written(pieces: list[bytes], *, turns: bool = False, close: bool = False) -> Wire:
    """Write pieces in one turn of the loop, or each in its own."""

    async def scenario() -> Wire:
        wire = Wire()
        holder = HeadHolder(wire)
        for piece in pieces:
            holder.write(piece)
            if turns:
                await asyncio.sleep(0)
        if close:
            holder.close()
        else:
            await asyncio.sleep(0)
        return wire

    return asyncio.run(scenario())


def test_a_head_goes_out_with_what_follows_it() -> None:
    """One write for the head and the first piece of a body, and one for each later piece."""
    assert [HEAD + b"first", b"second"] == _written([HEAD, b"first", b"second"]).writes


def test_a_head_alone_goes_out_as_its_turn_ends() -> None:
    """A stream that has begun shows so before its first event."""
    assert [HEAD, b"first"] == _written([HEAD, b"first"], turns=True).writes


def test_closing_comes_after_the_head() -> None:
    """What was written is sent, though its connection is closed in the same turn."""
    wire = _written([HEAD], close=True)
    assert ([HEAD], True) == (wire.writes, wire.is_closed)


@given(
    st.lists(st.sampled_from([HEAD, b"HTTP/1.1 but no head", b"body", b"HTTP", b"a\r\n"])), st.booleans(), st.booleans()
)
def test_nothing_changes_place(pieces: list[bytes], turns: bool, close: bool) -> None:
    """Whatever is written comes out once and in order."""
    assert b"".join(pieces) == b"".join(_written(pieces, turns=turns, close=close).writes)


def test_it_is_the_transport_in_everything_else() -> None:
    """What the server asks of its transport, the transport answers."""

    async def scenario() -> str:
        return cast("str", HeadHolder(Wire()).get_extra_info("peername"))

    assert "somebody" == asyncio.run(scenario())
