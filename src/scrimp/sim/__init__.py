"""The simulator: the Claude API as a seeded machine, with its own biller.

It is the second, independent model of the API: it imports nothing of `scrimp.core`, and `scrimp.core` imports
nothing of it, so that each is the other's oracle. It was written from the facts about the API alone.

One request passes through it in this order::

    bytes -> machine      who asks, is it JSON
          -> threads      the conversation that a thread holds, where there is one
          -> checks       what the API refuses, in the API's words
          -> render       the prompt as a flat sequence of positions: tools, system, messages
          -> binding      thinking that may not be sent back, refused or dropped
          -> marks        where the breakpoints stand, the automatic one included
          -> cache        what is read and what is written
          -> limits       whether there is room for it
          -> agents       what the model answers, chosen from the prompt
          -> sampling     the iterations that server tools make of it: the usage
          -> billing      one invoice line, exact, rounded once
          -> diagnostics  why the cache could not be read, for who asks
          -> bodies       the answer's JSON
          -> stream       the answer as server-sent events with their delays
          -> delivery     the bytes on the wire, compressed or not
          -> faults       what goes wrong with them

`blocks`, `tokens`, `signatures` and `models` serve them all; `rules` names what the API leaves open, each a switch.
`app` is the only part that does I/O (a raw ASGI application), `clients` plays the agents that send requests with the
`habits` of real ones, and everything in between is a function of values: the time, the seed and the rules are
arguments. The same seed and the same requests at the same times give the same bytes and the same faults.

A workspace is a credential: entries, threads, limits and fingerprints of one are never met under another. An answer
that was cut off is billed for what was streamed of it; its invoice line says whether the final usage could arrive.
What is remembered is bounded by a constant of its module (`LINES_MAX`, `THREADS_MAX`, `FINGERPRINTS_MAX`, `POOLS_MAX`;
cache entries by their lifetime), except the requests that `app` records for tests.
"""
