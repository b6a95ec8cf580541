"""Decisions, priced before and after.

Theory of operation: `plan` takes a request, what is believed, what the owner allows, prices and the time, and states
what to do and what that is expected to cost; `settle` prices what the answer says was used. In observe mode there is
nothing to do, and the prediction is there to be checked against the bill; in safe mode the levers' options become
`candidate`s, each priced once with its `cost_to_go`, and the cheapest becomes `edits`. `counterfactual` is the bill
that would have come without us, `explain` says why a cache broke, and `optimum` is what the same prompts would have
cost with the times known beforehand. What happens between requests is a `machine` over `threads` of them, which says
when a cache is to be pinged; `pinging` makes that ping of the request before, and `asides` are the prompts that another
thinking mode leaves behind.
"""
