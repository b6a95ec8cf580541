"""The levers: what could be done to a request, each with its reason. None of them decides alone.

Theory of operation: every lever is a pure function of the request, what is believed, what the owner allows, the
prices and the time. It gives options; `scrimp.core.plan` combines them, prices each combination once with what it does
to the turns to come, and takes the cheapest one that the guards allow.
"""
