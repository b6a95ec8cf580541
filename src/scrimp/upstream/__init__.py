"""What stands behind Scrimp: the Claude API, and the prices that it bills by.

How it works
============

`client` is the seam: `Upstream.send` takes a request as raw bytes and returns its response as raw bytes, as soon as
the headers are here. Three things stand behind it: `direct` (the API itself, in as few steps as there are, for what is
asked all the time: a POST whose body is at hand), `network` (the same for everything else and through a proxy, on
aiohttp with everything that aiohttp would do by itself turned off: no headers of its own, no decompression, no
redirects, no cookies, no timeout but that of connecting) and `asgi` (an app in this process, which is how the demo and
the tests reach the simulator).

All keep the same promises: what the client sent goes out unchanged but for the headers of one connection; chunks
come back as they arrive; a response that breaks off raises after its last byte, so that the gateway can cut its own
client in the same way; and letting go of an unread response cuts it off upstream, too.

`pricefeed` reads the price book that ships with the package and the user's own newer one; `pricecompile` makes such
a book from its sources.
"""
