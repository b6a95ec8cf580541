"""The Messages API's language, read without I/O.

Theory of operation: bytes of a request become a `Request` of `Block`s in cache order (`request`); bytes of an answer
pass through a content decoder (`encoding`) and an event decoder (`sse`) into an `Answer` (`response`), whose usage
becomes billing lines of disjoint token classes (`usage`), which a dated price book turns into nano-dollars
(`prices`). `tokens` estimates what is not yet known and learns from what is; `models` holds what else differs
between models. Input that cannot be read is an exception here and a pass-through in the gateway.
"""
