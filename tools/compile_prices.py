"""Write the packaged price book from genai-prices and overrides.toml; with --check, refuse a stale one.

python tools/compile_prices.py            write
python tools/compile_prices.py --check    exit 1 if the packaged book is stale
"""

from __future__ import annotations

import sys

from scrimp.upstream.pricecompile import compile_book
from scrimp.upstream.pricefeed import PACKAGED, render


def main(arguments: list[str]) -> int:
    """Return the exit code: 1 if --check found the packaged book stale."""
    compiled = compile_book()
    for note in compiled.notes:
        print(note)
    wanted = render(compiled.book)
    if "--check" in arguments:
        stale = wanted != PACKAGED.read_bytes()
        print("prices.json is stale: run tools/compile_prices.py" if stale else "prices.json is up to date")
        return int(stale)
    PACKAGED.write_bytes(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
