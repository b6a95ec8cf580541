"""The gateway: an ASGI app that clients reach through `ANTHROPIC_BASE_URL`.

How a request passes through it::

    asgi         the server's messages as plain values: the body, the headers, a client that leaves
    app          the table of routes: POST /v1/messages is recorded, every other path is passed through
    recorder     the core's `plan` and `settle`, and the beliefs they stand on, one per principal
    messages     open the exchange in the ledger, send, relay each chunk as it comes, close the exchange
    passthrough  everything else, byte for byte
    server       the listening socket

Bodies and answers are never rewritten here: the bytes that arrive are the bytes that are sent. What cannot be read
is forwarded as it came and recorded as unplanned. The gateway never retries and never invents a 400; its only
answer of its own is a 502 when nothing answers upstream, which clients treat as they treat an outage.
"""
