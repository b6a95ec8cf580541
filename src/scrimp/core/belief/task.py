"""Task types of API traffic without tags: requests made from one template are one type.

A template is the names of the tools, whether a format is asked for, and the skeleton of the system text: what is left
when everything that changes from request to request is masked (dates, numbers, ids, names, quoted strings, documents,
examples). Where there is hardly any system text, the beginning of the first user text stands in for it.

Skeletons are compared by sketch: every run of three words is hashed into one of 64 buckets, each of which keeps its
smallest hash (one-permutation hashing: Li, Owen and Zhang 2012), so the share of equal buckets estimates the share of
common runs. Runs of a sentence that says what to do ("You are", "Summarize") count more than those of boilerplate,
which many templates share. Only digests and numbers leave this module, never text.

Types are found online: a request joins the most similar type, or founds one. A type remembers how steady each of its
buckets was, so that what its own requests vary in weighs less and less.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from scrimp.core.wire.turns import at_once

BUCKETS = 64
#: A request joins a type that it is at least this similar to.
SIMILARITY_MIN = 0.65
#: Tool sets that overlap less than this are different types, whatever the texts say.
TOOL_OVERLAP_MIN = 0.5
#: How much of a text is looked at, in characters.
TEXT_CHARS_MAX = 40_000
#: A system text of fewer words says nothing of its own: then the user text counts as well.
SYSTEM_WORDS_MIN = 20
#: Of a paragraph with more words, only the sentences that say what to do count.
PARAGRAPH_WORDS_MAX = 60
#: How many words of the first user text are looked at.
USER_WORDS_MAX = 24
#: How often the runs of a sentence that says what to do are counted.
DIRECTIVE_WEIGHT = 4
#: How much more they count at the beginning of a user text under hardly any system text.
OPENING_WEIGHT = 3
TOOLS_NAMED = 2

_RUN_WORDS = 3
_EMPTY = 0
_HASH_BYTES = 8
_BUCKET_BITS = 6
_VALUE_BITS = 32

# --- masking: each rule replaces what changes by a word that says what was there ---

_INSTRUCTION_TAGS = (
    "instructions?|rules?|guidelines?|tasks?|role|system|polic(?:y|ies)|constraints?|(?:output_)?format|steps?|goals?|"
    "requirements?|style|tone|persona"
)
_DATA_WORDS = (
    "documents?|context|article|transcript|texts?|emails?|tickets?|data|contents?|sources?|knowledge(?: base)?|"
    "background|conversations?|history|messages?|examples?|inputs?|passages?|records?|reviews?|posts?|files?|code|"
    "results?|excerpts?|notes?|profile|samples?|few-shot examples?"
)
_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)[^<>]*>")
_INSTRUCTION_TAG = re.compile(rf"(?:{_INSTRUCTION_TAGS})\Z", re.IGNORECASE)
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            rf"^(?:#+\s*)?(?:\W{{0,3}}\w+\s+){{0,3}}(?:{_DATA_WORDS})(?:\s+\d+)?\W{{0,3}}:?\s*$"
            r"\n(?:(?!^#|^[A-Z][\w ]{0,40}:\s*$).*\n?)*",
            re.MULTILINE | re.IGNORECASE,
        ),
        "*section*\n",
    ),
    (
        re.compile(
            r"^\W{0,3}(?:(?:q|a|user|assistant|human|ai|input|output|question|answer|example|customer|agent)\s*\d*"
            r"|\w+\s+\d+|\d+)\W{0,2}:.*$",
            re.MULTILINE | re.IGNORECASE,
        ),
        "*example*",
    ),
    (re.compile(r"https?://\S+|www\.\S+"), "*url*"),
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"), "*email*"),
    (
        re.compile(
            r"\"[^\"\n]{1,400}\"|\u201c[^\u201d\n]{1,400}\u201d|\u2018[^\u2019\n]{1,400}\u2019|`[^`\n]{1,400}`|(?<!\w)'[^'\n]{1,400}'(?!\w)"
        ),
        "*quote*",
    ),
    (re.compile(r"(?:\b[A-Za-z]:|~|\.{1,2})?[\\/][\w.@+-]+(?:[\\/][\w.@+-]+)*[\\/]?"), "*path*"),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "*id*"),
    (
        re.compile(
            r"\b(?:\d{1,2}(?:st|nd|rd|th)?\s+)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+\d{1,4}"
            r"(?:st|nd|rd|th)?(?:,?\s+\d{4})?\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:am|pm|utc|gmt)\b",
            re.IGNORECASE,
        ),
        "*date*",
    ),
    (re.compile(r"\b(?=\w*\d)\w[\w.:,/%-]*\b"), "*number*"),
    (re.compile(r"\b[A-Z][a-z'\u2019]+(?:[ -](?:[A-Z]\.|[A-Z][a-z'\u2019]+))+"), "*name*"),
    (re.compile(r"(?<=[a-z,;:)*] )[A-Z][a-z'\u2019]+\b"), "*name*"),
    (re.compile(r"(?:\*(?:name|date|number|quote)\*(?:[\s,/–-]|and|at|to)*){2,}"), "*value* "),
)

_PARAGRAPH_END = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?:;\u3002\uff01\uff1f])\s+|\n+")
#: Scripts without spaces count by the sign.
_SIGN = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
_WORD = re.compile(rf"\*\w[\w ]*\*|{_SIGN}|(?:(?!{_SIGN})[^\W_])+(?:['\u2019-](?:(?!{_SIGN})[^\W_])+)*")
_DIRECTIVE = re.compile(
    r"\W*(?:you are|you're|you will|act as|your (?:task|job|goal|role|objective|purpose|mission)|the (?:task|goal) is|"
    r"(?:please |now |first |then )?(?:add|analy[sz]e|annotate|answer|assess|assign|build|check|choose|classify|clean|"
    r"compare|compose|compute|convert|correct|create|critique|decide|describe|detect|determine|diagnose|draft|edit|"
    r"estimate|evaluate|explain|extract|fill|find|fix|generate|grade|help|identify|implement|infer|judge|label|list|"
    r"map|match|moderate|normali[sz]e|outline|paraphrase|parse|plan|predict|prioriti[sz]e|produce|propose|rank|rate|"
    r"read|recommend|redact|refactor|rephrase|reply|report|resolve|respond|review|rewrite|route|score|search|select|"
    r"sort|suggest|summari[sz]e|tag|test|transcribe|transform|translate|triage|turn|validate|verify|write)\b)",
    re.IGNORECASE,
)


class Template(msgspec.Struct, frozen=True):
    """A request's template as numbers: the sketch of its skeleton, digests of its tools' names, and a name for people.

    `sketch` holds the smallest hash of each bucket, 0 where the bucket is empty. `digest` is the same for requests
    whose skeletons are the same to the letter. `name` is made of structure and tool names only.
    """

    sketch: tuple[int, ...]
    tools: frozenset[int]
    has_format: bool
    digest: str
    name: str


class TaskType(msgspec.Struct, frozen=True):
    """One known type: its id, the sketch that most of its requests have, and how steady each bucket of it is.

    `votes` says for each bucket how many more requests agreed with the sketch than did not.
    """

    task_id: str
    sketch: tuple[int, ...]
    votes: tuple[int, ...]
    members: int
    tools: frozenset[int]
    has_format: bool


# --- from a request to its template ---


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=_HASH_BYTES).digest(), "big")


def mask(text: str) -> str:
    """Return the skeleton of a text: what stays when everything that changes between requests is masked."""
    return at_once(_masking(text))


def _masking(text: str) -> Generator[None, None, str]:
    if len(text) > TEXT_CHARS_MAX:
        text = text[: TEXT_CHARS_MAX // 2] + "\n" + text[-TEXT_CHARS_MAX // 2 :]
    text = _without_blocks(_CODE.sub("\n*code*\n", text))
    for pattern, word in _MASKS:
        yield
        text = pattern.sub(word, text)
    yield
    return text


def _without_blocks(text: str) -> str:
    """Replace what stands between an opening and a closing tag, unless the tag's name says that it instructs.

    By hand, not by one pattern: a text full of tags that are never closed must not cost more than another.
    """
    tags = list(_TAG.finditer(text))
    ends: dict[str, list[int]] = {}
    for tag in tags:
        if tag[1]:
            ends.setdefault(tag[2], []).append(tag.end())
    parts: list[str] = []
    at = 0
    for tag in tags:
        closing = ends.get(tag[2], [])
        index = bisect_right(closing, tag.end())
        if tag[1] or tag.start() < at or index == len(closing) or _INSTRUCTION_TAG.match(tag[2]):
            continue
        parts += [text[at : tag.start()], f"\n*block {tag[2]}*\n"]
        at = closing[index]
    return "".join([*parts, text[at:]])


def _sentences(skeleton: str) -> Iterator[tuple[list[str], int]]:
    """Yield each sentence as its words in lower case, with its weight.

    Of a long paragraph, which may be a document, only the sentences that say what to do are taken.
    """
    for paragraph in _PARAGRAPH_END.split(skeleton):
        sentences = [(_WORD.findall(each.lower()), _DIRECTIVE.match(each)) for each in _SENTENCE_END.split(paragraph)]
        is_long = sum(len(words) for words, _ in sentences) > PARAGRAPH_WORDS_MAX
        for words, directive in sentences:
            if words and (directive or not is_long):
                yield words, DIRECTIVE_WEIGHT if directive else 1


def _runs(sentences: Iterable[tuple[list[str], int]]) -> Iterator[str]:
    """Yield every run of three words within a sentence, once for each time that it counts."""
    for words, weight in sentences:
        for start in range(max(1, len(words) - _RUN_WORDS + 1)):
            run = " ".join(words[start : start + _RUN_WORDS])
            for copy in range(weight):
                yield f"{copy} {run}"


def _sketch(runs: Iterable[str]) -> tuple[int, ...]:
    """Return the smallest hash of each bucket; a hash is never 0, which stands for an empty bucket."""
    smallest = [_EMPTY] * BUCKETS
    for run in runs:
        value = _hash(run)
        bucket = value & (BUCKETS - 1)
        rest = (value >> _BUCKET_BITS) & ((1 << _VALUE_BITS) - 1) | 1
        if smallest[bucket] == _EMPTY or rest < smallest[bucket]:
            smallest[bucket] = rest
    return tuple(smallest)


def _name(tools: Sequence[str], *, has_system: bool, has_format: bool, digest: str) -> str:
    """Name a template by its structure: "tool agent (Bash, Edit, +10) 3f2a51", "structured output 09be77"."""
    if tools:
        named = ", ".join(sorted(tools)[:TOOLS_NAMED])
        more = f", +{len(tools) - TOOLS_NAMED}" if len(tools) > TOOLS_NAMED else ""
        kind = f"tool agent ({named}{more})"
    elif has_format:
        kind = "structured output"
    else:
        kind = "instructed chat" if has_system else "plain chat"
    return f"{kind} {digest[:6]}"


def template(
    tools: Sequence[str], system_texts: Sequence[str], first_user_text: str | None, *, has_format: bool = False
) -> Template:
    """Return the template of a request: the names of its tools, its system texts and its first user text.

    `has_format` says whether the request asks for structured output. The order of the tools does not matter.
    """
    return at_once(templating(tools, system_texts, first_user_text, has_format=has_format))


def templating(
    tools: Sequence[str], system_texts: Sequence[str], first_user_text: str | None, *, has_format: bool = False
) -> Generator[None, None, Template]:
    """Find the template of a request as `template` does, in turns of a millisecond or so each."""
    sentences = list(_sentences((yield from _masking("\n".join(system_texts)))))
    yield
    has_system = bool(sentences)
    if sum(len(words) for words, _ in sentences) < SYSTEM_WORDS_MIN and first_user_text:
        sentences += yield from _opening(first_user_text)
    sketch = _sketch(_runs(sentences))
    names = sorted(set(tools))
    skeleton = "\n".join(" ".join(words) for words, _ in sentences)
    digest = f"{_hash('|'.join(names) + f'|{has_format}|' + skeleton):016x}"
    return Template(
        sketch=sketch,
        tools=frozenset(map(_hash, names)),
        has_format=has_format,
        digest=digest,
        name=_name(names, has_system=has_system, has_format=has_format, digest=digest),
    )


def _opening(text: str) -> Generator[None, None, list[tuple[list[str], int]]]:
    """Find the sentences that say what to do at the beginning of a user text; what follows them is data."""
    left, opening = USER_WORDS_MAX, []
    for words, weight in _sentences((yield from _masking(text[:TEXT_CHARS_MAX]))):
        if left <= 0 or weight < DIRECTIVE_WEIGHT:
            break
        opening.append((words[:left], weight * OPENING_WEIGHT))
        left -= len(words)
    return opening


# --- from templates to types ---


def _overlap(mine: frozenset[int], theirs: frozenset[int]) -> float:
    """Return how much of the smaller tool set is in the other; no tools are like no tools only."""
    smaller = min(len(mine), len(theirs))
    return len(mine & theirs) / smaller if smaller else float(not mine and not theirs)


def similarity(one: Template, known: TaskType) -> float:
    """Return how much of a type's steady skeleton a request has, from 0 to 1; 0 if tools or format tell them apart."""
    if one.has_format != known.has_format or _overlap(one.tools, known.tools) < TOOL_OVERLAP_MIN:
        return 0.0
    same = whole = 0
    for mine, theirs, votes in zip(one.sketch, known.sketch, known.votes, strict=True):
        if mine or theirs:
            whole += votes + 1
            same += votes + 1 if mine == theirs else 0
    return same / whole if whole else 1.0


def _founded_by(one: Template) -> TaskType:
    return TaskType(one.name, one.sketch, (1,) * BUCKETS, 1, one.tools, one.has_format)


def _joined_by(known: TaskType, one: Template) -> TaskType:
    """Return the type with one request more: each bucket keeps the value that most requests had."""
    pairs = [
        (theirs, votes + 1) if mine == theirs else (theirs, votes - 1) if votes else (mine, 1)
        for mine, theirs, votes in zip(one.sketch, known.sketch, known.votes, strict=True)
    ]
    return TaskType(
        task_id=known.task_id,
        sketch=tuple(value for value, _ in pairs),
        votes=tuple(votes for _, votes in pairs),
        members=known.members + 1,
        tools=known.tools & one.tools or known.tools,
        has_format=known.has_format,
    )


def assign(one: Template, known: Sequence[TaskType]) -> tuple[str, tuple[TaskType, ...]]:
    """Return the id of the type that a request belongs to, and the known types with this request counted.

    The id of a new type is the name of the request that founded it.
    """
    scores = [similarity(one, each) for each in known]
    best = max(range(len(known)), key=scores.__getitem__, default=None)
    if best is None or scores[best] < SIMILARITY_MIN:
        founded = _founded_by(one)
        return founded.task_id, (*known, founded)
    joined = _joined_by(known[best], one)
    return joined.task_id, (*known[:best], joined, *known[best + 1 :])
