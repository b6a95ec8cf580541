"""The engine: pure, in rooms that each stand on the one before.

Theory of operation::

    wire      the API's language: a request as blocks in cache order, usage as disjoint token classes, prices, tokens
    belief    what we know: the chain of digests of a prompt, the cache it meets, the session it belongs to
    plan      what to do about it: `plan` before a request is sent, `settle` after it was answered

Everything here is a total function of values. Nothing does I/O, reads a clock or the environment, draws a random
number or logs: times, ids and token counters are arguments, and state is a fold over events. The gateway, the
library, replay and the simulator's tests run this same code.
"""
