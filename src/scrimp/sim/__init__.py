"""The simulator: the Claude API as a seeded machine, with its own biller.

It is the second, independent model of the API: it imports nothing of `scrimp.core`, and `scrimp.core` imports
nothing of it, so that each is the other's oracle. It was written from the facts about the API alone.

One request passes through it in this order::

    bytes -> machine     who asks, is it JSON
          -> checks      what the API refuses, in the API's words
          -> render      the prompt as a flat sequence of positions: tools, system, messages
          -> marks       where the breakpoints stand, the automatic one included
          -> cache       what is read and what is written: the usage
          -> agents      what the model answers, chosen from the prompt
          -> billing     one invoice line, exact, rounded once
          -> stream      the answer as server-sent events with their delays

`blocks`, `tokens` and `models` serve them all; `rules` names what the API leaves open, each a switch. `app` is the
only part that does I/O (a raw ASGI application), `clients` plays the agents that send requests, and everything in
between is a function of values: the time, the seed and the rules are arguments. The same seed and the same requests at
the same times give the same bytes.

A workspace is a credential: entries written under one are never read under another.
"""
