"""The engine: from requests and answers to exchanges. What the gateway and the SDK's middleware share, without any I/O.

    outside      what it stands on: prices, a clock, ids, the owner's policy
    modes        what may be done to a request
    recorder     the core's `plan` and `settle`, and the beliefs they stand on, one per principal
                 (`readings` remembers what was read, `weights` what blocks weigh, `tasktypes` kinds of work)
    breaks       why less was read from the cache than was left, told where the bill agrees
    ceilings     the most that an exchange can cost
    faults       owning up in the log without quoting the request

A face opens an exchange with `Recorder.arrive`, says `first_token` when the answer begins, and ends it with `close`; it
sends the bytes that the opened exchange holds, keeps the ledger, and owns every socket and task. Nothing here fails a
request: whatever goes wrong leaves it unplanned and as it came.
"""
