"""Reads the links between the requests of Claude Code sessions; files of other kinds have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scrimp.replay.traces import claude_code
from scrimp.replay.traces.claude_history import Link, by_message, read_links
from scrimp.replay.traces.discover import find, reader_of
from scrimp.replay.traces.files import load
from scrimp.replay.traces.trace import Source
from scrimp.replay.traces.workers import Watch


def links_of(paths: Sequence[str], watch: Watch = iter) -> Mapping[str, Link]:
    """Return the links of all sessions under some paths, by message id; what cannot be read is `discover`'s to report.

    `watch` may wrap the list of files to show progress.
    """
    return links_in(find(paths).files, watch)


def links_in(files: Sequence[str], watch: Watch = iter) -> Mapping[str, Link]:
    """Return the links of these files, as `links_of` does for what it finds."""
    links: list[Link] = []
    for path in watch(list(files)):
        data, _ = load(path)
        reader = reader_of(data)
        if reader is not None and reader.KIND == claude_code.KIND:
            links += read_links(Source(path, data))
    return by_message(links)
