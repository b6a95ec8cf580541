"""Replay: traffic that was recorded elsewhere, read, named and billed like our own.

Theory of operation: `traces` turns files of any known kind into `Exchange` values and collects what it cannot read;
`tasks` names the kind of work of transcripts, which hold no tags; `rates` finds the card of each billing line once;
`report` folds exchanges into totals, groups and the two `baselines`: no cache at all, and one-line automatic caching.
Only `traces` opens files; everything else is a fold over values, so the ledger's exchanges go through it just the same.
"""
