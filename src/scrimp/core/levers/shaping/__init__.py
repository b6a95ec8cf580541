"""Shaping at the door: a tool result is written shorter once, when it first appears, and never again.

    tool result -> shape(text, hint) -> Shaped(text, steps) -> what the model reads, in this request and every later one
                                     -> restore(shaped)     -> the tool result, character for character

Theory of operation. Tool results are most of what an agent's context holds, and each is paid for many times: written
to the cache once, read again with every request behind it. Rewriting one later breaks the cached prefix and costs more
than it saves (design rule 5), so the only free moment is the first: a result is shaped before it is sent at all, by a
pure function of its content and of the tool's name and input. The same version of it gives the same bytes for
the same result in every request, on every machine, after every restart; what is sent bears the versions (`steps`).

Lossless means three things here. *Nothing is gone*: `restore` gives the text back to the character. This is not
promised but checked, on each text, before the shaped one is used: a shaper that fails, grows the text or could not
restore it is passed over. *Nothing is hidden*: every key, value, path and line stands in the text in its own spelling
(or, for line numbers and what lines share with the line above, is counted or read off in place); what the model may
look for is inline. *Types stay*: a string is never made a number, true is never 1, null is never nothing.

The shapers, in the order in which they are tried; each gets what the ones before it made, at most once:

    json       what is JSON as a whole, or by the line      no blanks; keys of like objects once (`jsons`, `tables`)
    numbered   file reads with a number on each line        every tenth number (`numbered`)
    listings   paths, and matches behind their paths        the folder or file once, as a heading (`listings`)
    terminal   what else commands print                     what a line shares with the line above once (`terminal`)

The most particular comes first: JSON can be told from all else, numbered lines look like matches to `listings`, and
any lines at all could be what `terminal` takes. A form that does not explain itself says what it is in a line of its
own, which counts: what is not shorter with it is left as it came.

A shaped text is known by its mark (a first line, or a form that nothing else has), which each shaper's `restore` asks
for. A text that bears one is left alone, so shaping twice is shaping once: results that come round again through a
client's own history, a file or a second gateway keep their bytes. An original that happens to bear one is left alone
too, which loses nothing. The mark stands in the text and not beside it because the text is all that comes round.

Limits: texts longer than `shape.LONGEST_CHARS` and JSON nested deeper than `tables.DEEPEST` go as they came. Time and
memory are linear in the text: each shaper reads it a few times and keeps no more than a few copies.

What is not here: pointers to what already stands in the context, leaving things out (and getting them back), and the
store of originals. Those are not functions of one text.
"""
