"""The library: the same plan and settle inside the `anthropic` SDK, with no gateway.

    client = anthropic.Anthropic(middleware=[scrimp.Middleware()])

How a request passes through it::

    middleware  the two handles that the SDK enters, once for each attempt: its retries are exchanges of their own
    asked       which requests are ours, whose they are, and the body as bytes: the same bytes for the same turn
    desk        the engine's recorder, for any number of threads
    shelf       the ledger, opened beside the requests
    answers     what each answer says of itself while the caller reads it, and how the reading ended

Only POST /v1/messages is looked at; every other request goes on as it came, and so does one that we fail to plan. A
request is planned on the bytes that the SDK would send; edits are made in them and read back, because the SDK hands
its middleware a JSON object. Nothing waits for the ledger: an exchange is in it within 100 ms of being sent.

Where the client's `base_url` is a gateway of ours, which its answers say, that one plans and records, and we do
nothing. Holding a request back until another one has warmed its prefix, and pings, are the gateway's alone: they need
somebody who outlives the request. Bedrock's and Vertex's own clients are left alone, too.

Importing this room imports the SDK, which takes a second or more; `scrimp.Middleware` does so when it is first named.
"""

from __future__ import annotations

from scrimp.sdk.middleware import Middleware

__all__ = ["Middleware"]
