"""What lossless shaping saves of real tool results, whether every one of them comes back, and what it costs.

    python bench/shaping.py

Measured as the facts on shaping do: characters of tool results, each result once however many files hold it; here with
those of subagents. "As recorded" is every result as it stands. "Without old-build boilerplate" leaves out, before and
after alike, what newer clients no longer send: the reminder behind each file read, and the echo of the agent's own
edits. Each text is shaped, restored, shaped again, and shaped a second time from the beginning; a violation is one that
does not come back, grows, or is shaped otherwise. CPU is that of `shape`, its own proof of restoring included.

Exit code 0: the promises of this slice hold; 1: one does not; 2: there is no data. What the whole lossless tier is to
save of sessions needs pointers to what is in context already, which are not built yet: that figure is printed beside
ours and is no promise here.
"""

from __future__ import annotations

import gc
import gzip
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from scrimp.core.levers.shaping.shape import LONGEST_CHARS, Hint, restore, shape
from scrimp.replay.traces.discover import find
from scrimp.replay.traces.files import load
from scrimp.replay.traces.results import read_results
from scrimp.replay.traces.trace import Source

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SESSIONS, AGENTS, LOGS = DATA / "claude_code_sessions", DATA / "tau2", DATA / "pytest_outputs"
PAIRS = DATA / "lost_in_middle" / "kv-retrieval-75_keys.jsonl.gz"

#: The promises: share saved of each file of JSON tools, CPU per 100 KB, and how much dearer a byte of 10 MB may be.
JSON_TOOLS_SAVED, CPU_MS_MAX, GROWTH_MAX = 0.14, 3.0, 1.5
#: What the whole lossless tier is to save of sessions, overall and in each source; with pointers, so not promised here.
WITH_POINTERS = {"overall": 0.14, "each_source": 0.07}

#: An old client's reminder behind what it read; told from others by one word.
REMINDER = re.compile(r"\s*<system-reminder>(?:(?!</?system-reminder>).)*malware.*?</system-reminder>\s*", re.DOTALL)
#: An old client's echo of an edit: the lines around it, numbered.
EDITORS, ECHO = frozenset({"Edit", "MultiEdit", "Write"}), "cat -n"

#: Tools with a row of their own.
TOOLS = frozenset({"Read", "Bash", "Grep", "Glob", "Task", "TaskOutput", "WebFetch", *EDITORS})

BYTES_RATED = 100_000
ROUNDS = 5
SMALL_CHARS, LARGE_CHARS = 1_000_000, LONGEST_CHARS


class Text(NamedTuple):
    """One text of a tool result; `cleaned` is it without old-build boilerplate, None where nothing else is in it."""

    group: str
    hint: Hint
    text: str
    cleaned: str | None

    @property
    def tool(self) -> str:
        """The tool's name, empty where it is unknown."""
        return self.hint.tool or ""


# --- the data ---


def cleaned(tool: str | None, text: str) -> str | None:
    """Return a text without what only old clients send."""
    if tool in EDITORS and ECHO in text:
        return None
    return REMINDER.sub("", text) if tool == "Read" else text


def session_texts() -> Iterator[Text]:
    """Yield the results of the sessions; the group is the folder that a session stands in."""
    seen: set[str] = set()
    for path in find([str(SESSIONS)]).files:
        results, _ = read_results(Source(path, load(path)[0]))
        group = Path(path).relative_to(SESSIONS).parts[0]
        for result in results:
            if result.use_id not in seen:
                hint = Hint(result.tool, result.input)
                yield from (Text(group, hint, text, cleaned(result.tool, text)) for text in result.texts)
        seen.update(result.use_id for result in results)


def agent_texts() -> Iterator[Text]:
    """Yield what the JSON tools of tau2's dialogues gave; the group is the file."""
    for path in sorted(AGENTS.glob("*.json")):
        for simulation in json.loads(path.read_bytes())["simulations"]:
            asked: dict[str, Hint] = {}
            for message in simulation["messages"]:
                for use in message.get("tool_calls") or ():
                    asked[use["id"]] = Hint(use["name"], json.dumps(use["arguments"]).encode())
                if message["role"] == "tool":
                    yield Text(path.stem, asked.get(message["id"], Hint()), message["content"], message["content"])


def log_texts() -> Iterator[Text]:
    """Yield the logs of test runs."""
    for path in sorted(LOGS.glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        yield Text("pytest_outputs", Hint("Bash"), text, text)


class Lookup(NamedTuple):
    """Keys and values written as JSON."""

    names: list[str]
    text: str


#: How the pairs are written: one object, the same over many lines, and objects of a key and a value each.
WRITINGS: dict[str, Callable[[dict[str, str]], str]] = {
    "object": json.dumps,
    "object_indented": lambda pairs: json.dumps(pairs, indent=2),
    "array_of_objects": lambda pairs: json.dumps([{"key": key, "value": value} for key, value in pairs.items()]),
}


def lookups(write: Callable[[dict[str, str]], str]) -> Iterator[Lookup]:
    """Yield each lookup of lost_in_middle in one writing."""
    for line in gzip.decompress(PAIRS.read_bytes()).splitlines():
        pairs = dict(json.loads(line)["ordered_kv_records"])
        yield Lookup([*pairs, *pairs.values()], write(pairs))


# --- what is saved, and whether anything is lost ---


def violations(text: str, hint: Hint) -> Iterator[str]:
    """Name what is broken of the promises about one text."""
    shaped = shape(text, hint)
    try:
        if restore(shaped) != text:
            yield "not_restored"
    except ValueError:
        yield "not_restored"
    if len(shaped.text) > len(text):
        yield "grown"
    if shape(shaped.text, hint).text != shaped.text:
        yield "shaped_twice_is_not_once"
    if shape(text, hint) != shaped:
        yield "shaped_otherwise_when_repeated"


def saved(texts: Iterable[tuple[str, Hint]]) -> dict[str, Any]:
    """Return how many texts there are, of how many characters, and the share of them that shaping saves."""
    before = after = count = 0
    for text, hint in texts:
        count += 1
        before += len(text)
        after += len(shape(text, hint).text)
    return {"texts": count, "characters": before, "saved": round(1 - after / before, 4) if before else 0.0}


def both(texts: list[Text]) -> dict[str, Any]:
    """Return what is saved of some texts as recorded and, where that differs, without old-build boilerplate."""
    recorded = saved((each.text, each.hint) for each in texts)
    without = saved((each.cleaned, each.hint) for each in texts if each.cleaned is not None)
    return {"as_recorded": recorded} | ({} if without == recorded else {"without_old_build_boilerplate": without})


def by(texts: Iterable[Text], key: Callable[[Text], str]) -> dict[str, Any]:
    """Return `both` of each group, the one with most characters first."""
    groups: dict[str, list[Text]] = {}
    for each in texts:
        groups.setdefault(key(each), []).append(each)
    found = {name: both(group) for name, group in groups.items()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]["as_recorded"]["characters"]))


def looked_up() -> dict[str, Any]:
    """Return, for each writing, what is saved and the share of keys and values that stand in the shaped text."""
    answer = {}
    for name, write in WRITINGS.items():
        found = list(lookups(write))
        inline = sum(sum(word in shaped for word in each.names) for each in found for shaped in [shape(each.text).text])
        share = inline / sum(len(each.names) for each in found)
        answer[name] = saved((each.text, Hint()) for each in found) | {"keys_and_values_inline": share}
    return answer


# --- what it costs ---


def cpu_ms(texts: list[tuple[str, Hint]]) -> float:
    """Return the CPU of shaping some texts, in milliseconds."""
    begun = time.process_time()
    for text, hint in texts:
        shape(text, hint)
    return 1e3 * (time.process_time() - begun)


def rated(kinds: dict[str, list[tuple[str, Hint]]]) -> dict[str, float]:
    """Return milliseconds per 100 KB of each kind of text: medians of rounds in which all kinds take turns."""
    rounds = [{name: cpu_ms(texts) for name, texts in kinds.items()} for _ in range(ROUNDS)]
    sizes = {name: sum(len(text.encode()) for text, _ in texts) for name, texts in kinds.items()}
    return {
        name: round(median(each[name] for each in rounds) * BYTES_RATED / size, 3)
        for name, size in sizes.items()
        if size
    }


def made_up(chars: int) -> dict[str, str]:
    """Return long texts of the kinds that shapers know, cut to a length: a file, matches, records and a log."""

    def lines(line: Callable[[int], str]) -> str:
        step = len(line(10**6))
        return "\n".join(line(number) for number in range(1, chars // step + step))[:chars].rpartition("\n")[0]

    record = '{{"id": {}, "name": "user {}", "is_active": true, "city": null}}'
    return {
        "file": lines(lambda n: f"{n:>6}\tvalue_{n % 97} = compute(previous, {n % 13})"),
        "matches": lines(lambda n: f"src/package_{n // 40}/module_{n // 8}.py:{n % 900}:    return value_{n % 97}"),
        "paths": lines(lambda n: f"src/package_{n // 40}/module_{n}.py"),
        "records": "[" + lines(lambda n: record.format(n, n % 97) + ",").replace("\n", " ").rstrip(",") + "]",
        "log": lines(lambda n: f"tests/test_{n // 50}.py::test_case_{n % 50} PASSED"),
        "one_line": "x" * chars,
        "same_lines": lines(lambda _: "waiting for the server"),
    }


def long_texts() -> dict[str, dict[str, float]]:
    """Return what long texts of each kind cost, and how much dearer a byte of the longest is than one of a tenth."""
    sizes = (SMALL_CHARS, LARGE_CHARS)
    small, large = (rated({name: [(text, Hint())] for name, text in made_up(size).items()}) for size in sizes)
    return {
        "cpu_ms_per_100_kb_of_10_mb": large,
        "cpu_of_a_byte_of_10_mb_to_one_of_1_mb": {
            name: round(large[name] / max(small[name], 1e-3), 2) for name in small
        },
    }


# --- the whole ---


def speed(sessions: list[Text], agents: list[Text], logs: list[Text]) -> dict[str, float]:
    """Return milliseconds per 100 KB of each kind of real text, and of long made-up ones."""
    kinds = {
        "file reads": [each for each in sessions if each.tool == "Read"],
        "commands": [each for each in sessions if each.tool == "Bash"],
        "searches": [each for each in sessions if each.tool in {"Grep", "Glob"}],
        "all results of sessions": sessions,
        "json tools": agents,
        "test logs": logs,
    }
    return rated({name: [(each.text, each.hint) for each in texts] for name, texts in kinds.items()})


def figures() -> dict[str, Any]:
    """Measure everything."""
    sessions, agents, logs = list(session_texts()), list(agent_texts()), list(log_texts())
    written = [(each.text, Hint()) for write in WRITINGS.values() for each in lookups(write)]
    every = [(each.text, each.hint) for each in (*sessions, *agents, *logs)] + written
    return {
        "sessions": both(sessions),
        "sessions_by_source": by(sessions, lambda each: each.group),
        "sessions_by_tool": by(sessions, lambda each: each.tool if each.tool in TOOLS else "other"),
        "json_tools": by(agents, lambda each: each.group),
        "test_logs": both(logs)["as_recorded"],
        "lost_in_middle": looked_up(),
        "texts_checked": len(every),
        "violations": Counter(name for text, hint in every for name in violations(text, hint)),
        "cpu_ms_per_100_kb": speed(sessions, agents, logs),
        **long_texts(),
        "promised": {
            "violations": 0,
            "saved_of_json_tools_at_least_in_each_file": JSON_TOOLS_SAVED,
            "keys_inline": 1.0,
            "cpu_ms_per_100_kb_at_most": CPU_MS_MAX,
            "cpu_of_a_byte_of_10_mb_to_one_of_1_mb_at_most": GROWTH_MAX,
        },
        "not_promised_before_there_are_pointers": {"saved_of_sessions_at_least": WITH_POINTERS},
    }


def holds(found: dict[str, Any]) -> bool:
    """Whether the promises hold."""
    return (
        not found["violations"]
        and all(each["as_recorded"]["saved"] >= JSON_TOOLS_SAVED for each in found["json_tools"].values())
        and all(each["keys_and_values_inline"] == 1 for each in found["lost_in_middle"].values())
        and max([*found["cpu_ms_per_100_kb"].values(), *found["cpu_ms_per_100_kb_of_10_mb"].values()]) <= CPU_MS_MAX
        and max(found["cpu_of_a_byte_of_10_mb_to_one_of_1_mb"].values()) <= GROWTH_MAX
    )


def main() -> int:
    """Print the figures as one JSON object and say by the exit code whether the promises hold."""
    if missing := [path for path in (SESSIONS, AGENTS, LOGS, PAIRS) if not path.exists()]:
        sys.stderr.write(f"There is no recorded data: {', '.join(path.name for path in missing)}.\n")
        return 2
    gc.disable()
    found = figures()
    print(json.dumps(found))
    return 0 if holds(found) else 1


if __name__ == "__main__":
    sys.exit(main())
