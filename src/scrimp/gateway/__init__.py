"""The gateway: an ASGI app that clients reach through `ANTHROPIC_BASE_URL`.

How a request passes through it::

    build        the app from settings: real upstream, real ledger, current prices (`services` is what it stands on)
    server       the listening socket;  protocol  when the head of an answer is written
    workers      several processes that serve it, each a `worker`; a `board` shows them what the others counted
    asgi         the server's messages as plain values: the body, the headers, a client that leaves
    app          the table of routes: POST /v1/messages is recorded, every other path is passed through
    hosts        who may be named as Host
    messages     open the exchange in the ledger, send, relay each chunk as it comes, close the exchange
                 (`scrimp.engine` plans and settles it; `landings` holds back who can read what another one writes)
    keeper       holds caches through pauses by repeating the last request without output
    books        where exchanges are written down: ledger, metrics, whoever is told
    relay        what both kinds of path share: to the upstream and back, for as long as the client stays
    passthrough  everything else, byte for byte
    metrics      what went through, for Prometheus;  probe  is anything, and is one of us, at an address
    conformance  the contract that clients rely on, asked of any gateway

Answers are never rewritten, and bodies only where a plan says so: else the bytes that arrive are the bytes that are
sent. What cannot be read is forwarded as it came and recorded as unplanned. The gateway never retries and never invents
a 400; its only answer of its own is a 502 when nothing answers upstream, which clients treat as they treat an outage.
"""
