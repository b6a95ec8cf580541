"""The signature of a thinking block: opaque to a client, and to us what the block is bound to.

Preserved thinking (API docs): a block belongs to the model that wrote it and to the conversation before it. Which
models ask for the second, and of whom, is `Model.binds_thinking` and `Rules.account`.
"""

from __future__ import annotations

import base64

import msgspec

from scrimp.sim.blocks import JsonObject

_MARK = "sim"


class Signature(msgspec.Struct, frozen=True):
    """What one of our signatures says: how long the thinking was, shown or not, its model, and what stood before it.

    `prefix` is a digest of the conversation before the block, empty where it is bound to none.
    """

    thinking_tokens: int
    model: str = ""
    prefix: str = ""
    nonce: str = ""

    def encode(self) -> str:
        """Return the text that stands in the block."""
        fields = (_MARK, str(self.thinking_tokens), self.model, self.prefix, self.nonce)
        return base64.b64encode(":".join(fields).encode()).decode()


def signature_of(block: JsonObject) -> Signature | None:
    """Return what the block's signature says; None for one that is not ours."""
    try:
        text = base64.b64decode(str(block.get("signature") or ""), validate=True).decode()
        mark, count, model, prefix, nonce = text.split(":")
    except ValueError:
        return None
    return Signature(int(count), model, prefix, nonce) if mark == _MARK and count.isdecimal() else None
