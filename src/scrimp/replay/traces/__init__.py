"""Recorded traffic of any kind, read into the same `Exchange` values that the gateway records.

One reader a file, all of one shape: `sniff(head) -> bool` says whether the first bytes look like its own, and
`read(source, shared) -> Trace` turns a whole file into exchanges. `discover` owns the table of readers and all the
input and output: it finds files, opens them, unpacks gzip, asks the table who reads them, and merges the traces. The
readers themselves are functions of bytes.

Whatever cannot be read becomes a `Problem`, one sentence that says what and what next, and the good part of the same
file is still used. Prompt text is looked at while reading, to name the kind of work, and is not kept. What tools wrote
is read by `results` alone, for `scrimp shape`, which drops it again when it is measured.
"""
