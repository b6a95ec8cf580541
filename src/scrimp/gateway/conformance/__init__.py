"""Conformance: whether a gateway, ours or any other, leaves the Claude API's traffic as it is.

How it finds out: it stands at both ends. The gateway under test is configured to have our recorder as its upstream;
then each item of the contract is one small conversation, sent at the gateway's front and compared with what arrived at
its back, and the other way round::

    client (ours)  --request-->  gateway under test  --request-->  recorder (ours)
                   <--answer---                      <--answer---  as the item's script says

Both ends speak bare HTTP/1.1 on sockets, since a library would tidy up the very bytes that are to be compared. Nothing
is measured in time: a stream is unbuffered if its first event is here before the recorder sends the second, and the
recorder does not send it until it was told so. Patience only bounds how long a gateway that fails may take.

Each request carries a token in a header and in its text, so that a late retry of one item is never taken for a request
of the next. All that passes are our own samples under a fake key, or the gateway's own; no finding quotes a key.

Which module does what::

    wire         HTTP/1.1 as bytes: heads, bodies by piece, and how each ended
    codings      the encodings that clients ask for
    recorder     the upstream that answers as it is told and notes what reached it
    trial        one gateway under test: send a request through it, return both ends' view
    item         an item of the contract and its finding
    shapes       requests as Claude Code and the SDKs write them
    samples      answers as the API writes them
    bodies, fields, headers, answers, streams, links
                 the items, by what they look at
    report       every item in order, and the result as plain values

The contract: the gateway protocol of Claude Code's documentation (llm-gateway-protocol), RFC 9110 and 9112 for what
belongs to one connection, and what the real clients were seen to send and to react to.
"""
