"""What we know about a principal's traffic, as values that events are folded into.

Theory of operation: a request becomes a `Prompt`, a chain of digests and token counts (`prefix`). The emulator
(`cache`) says which prefix the API will read and what it will write. `identity` names who sent it, `session` finds
the conversation it continues and folds `events` into a `Belief`. Which lines of an application's
system prompt change from request to request, `templates` tells. What kind of work it is, `work` tells for Claude Code
and `task` for everybody else's templates. How long an account's people stay away is a life table
(`gaps`), which begins with that of others (`prior`) and tells answers apart by their `signs`; `account` holds it beside
the ledgers and the guard of holding. An `Exchange` is what remains of a request in the ledger: numbers and
digests, never text.
"""
