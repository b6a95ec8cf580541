"""The Messages API's language, read without I/O.

Theory of operation: bytes of a request become a `Request` (`request`) of `Block`s in cache order, each with the digest
of what the API renders of it (`blocks`), beside the settings that are part of the cache key (`cachekey`). Bytes of an
answer pass through a content decoder (`encoding`) and an event decoder (`sse`) into an `Answer` (`response`); how long
its text is and which tools it wants, `spoken` tells. Its usage becomes billing lines of disjoint token classes
(`usage`), which a dated price book turns into nano-dollars (`prices`). `tokens` estimates what is not yet known and
learns from what is (`imagesize` for pictures); `models` holds what else differs between models. `splice` edits a
request in its original bytes: `edits` say what, `spans` find where, `cuts` do it. `labels` keeps what others write
short, `surrogates` forgives half a character, `turns` is work that lets others come between. Input that cannot be read
is an exception here and a pass-through in the gateway.
"""
