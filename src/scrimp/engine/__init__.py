"""The engine: from requests and answers to exchanges. What the gateway and the SDK's middleware share, without any I/O.

    outside      what it stands on: prices, a clock, ids, the owner's policy
    modes        what may be done to a request
    recorder     the core's `plan` and `settle`, and the `states` they stand on, one per principal
                 (`readings` remembers what was read, `weights` what blocks weigh, `chains` the digests of
                 conversations, `tasktypes` kinds of work)
    pauses       what is held between requests, and the exchanges of the pings that do it
    breaks       why less was read from the cache than was left, told where the bill agrees
    pitfalls     telling the owner, once, of what changes in every request and may not be moved
    ceilings     the most that an exchange can cost
    faults       owning up in the log without quoting the request

A face opens an exchange with `Recorder.arrive`, says `first_token` when the answer begins, and ends it with `close`; it
sends the bytes that the opened exchange holds, keeps the ledger, and owns every socket and task. One that can keep time
obeys what closing says is `held`. Nothing here fails a
request: whatever goes wrong leaves it unplanned and as it came.
"""
