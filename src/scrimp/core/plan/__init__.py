"""Decisions, priced before and after.

Theory of operation: `plan` takes a request, what is believed, what the owner allows, prices and the time, and states
what to do and what that is expected to cost; `settle` prices what the answer says was used. In observe mode there is
nothing to do, and the prediction is there to be checked against the bill.
"""
