"""Replay: traffic that was recorded elsewhere, read, named and billed like our own.

Theory of operation: `traces` turns files of any known kind into `Exchange` values and collects what it cannot read;
`tasks` names the kind of work of transcripts, which hold no tags; `rates` finds the card of each billing line once;
`report` folds exchanges into totals, groups and the two `baselines`: no cache at all, and one-line automatic caching;
`savings` are what a gateway's own baselines say, less what it spent itself.
For replay, `branching` makes `steps` of exchanges and of the links between their rows: which prompt each extends and
how far, helped by `bases` (tools and system), `thinking` and `client_builds` (what the client changes itself);
`emulator` bills steps under any policy, and `fidelity` holds its prediction against the bills that were recorded.
`policies` decides for steps what a gateway would have (`holding`, with what it knows of the cache in `warmth` and of
chats in `tails`), `regret` says where each policy lost against the optimum, `compare` sums accounts up, `spread` does
several at once, and `chart` draws it. `cold_start` keeps of past sessions what they teach of their user. `mooncake`
reads traces of chats, and `gather` everything under some paths.
`audit` finds what breaks of the cache and `wastes` cost in recorded bills, and `advice` has the words for it.
`shaping` shapes what tools gave back in sessions, restores it and sums sizes up by tool.
Only `traces`, `gather` and `shaping` open files; everything else is a fold over values, so the ledger's exchanges go
through it just the same.
"""
