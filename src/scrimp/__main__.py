"""`python -m scrimp` is the `scrimp` command."""

from __future__ import annotations

from scrimp.cli.main import main

if __name__ == "__main__":
    main()
