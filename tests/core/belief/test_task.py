"""Task types of API traffic: what a template ignores, what it does not, and how well types are found."""

from __future__ import annotations

import random  # noqa: TID251 - a seeded random.Random mixes the traffic
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import comb
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.task import TaskType, assign, mask, similarity, template

Record = Callable[[str, object], None]

# --- a generator of traffic: twelve templates, each filled in anew for every request ---

FIRST = "Alice Bruno Chiara Daniel Elif Fatima Georg Hana Igor Jamal Keiko Lars Mina Noah Olga Priya".split()
LAST = "Abbot Berger Costa Duarte Eriksen Fontaine Grieg Hossain Ivanov Jansen Kowalski Larsen Moreau".split()
WORDS = (
    "harbour velvet quarterly pipeline lantern budget orchid meadow ledger voltage canvas sailor copper thunder ribbon "
    "marble invoice glacier pepper signal turbine cottage hammer violin drought satellite bakery compass granite tunnel"
).split()


class Filler:
    """Draws everything that changes from one request to the next."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def name(self) -> str:
        """Return a person's name."""
        return f"{self.dice.choice(FIRST)} {self.dice.choice(LAST)}"

    def date(self) -> str:
        """Return a date, in one of several spellings."""
        day, month, year = self.dice.randint(1, 28), self.dice.randint(1, 12), self.dice.randint(2019, 2027)
        months = "January February March April May June July August September October November December".split()
        spellings = (f"{year}-{month:02}-{day:02}", f"{months[month - 1]} {day}, {year}", f"{day}.{month}.{year}")
        return self.dice.choice(spellings)

    def prose(self, low: int, high: int) -> str:
        """Return some paragraphs of prose of so many words."""
        words = [self.dice.choice(WORDS) for _ in range(self.dice.randint(low, high))]
        return ". ".join(" ".join(words[at : at + 9]).capitalize() for at in range(0, len(words), 9)) + "."

    def identifier(self) -> str:
        """Return an opaque id."""
        return f"{self.dice.getrandbits(64):016x}"

    def number(self) -> str:
        """Return a number, an amount or a share."""
        return self.dice.choice((str(self.dice.randint(2, 9999)), f"{self.dice.random() * 100:.2f}%"))

    def examples(self) -> str:
        """Return between one and four examples, drawn anew."""
        return "\n".join(
            f"<example>\nInput: {self.prose(5, 25)}\nOutput: {self.dice.choice(WORDS)}\n</example>"
            for _ in range(self.dice.randint(1, 4))
        )

    def shuffled(self, items: Sequence[str]) -> list[str]:
        """Return the same items in another order."""
        return self.dice.sample(items, len(items))


class Request(NamedTuple):
    """What `template` takes."""

    tools: Sequence[str]
    system: Sequence[str]
    user: str
    has_format: bool = False


CODING_TOOLS = ("Bash", "Edit", "Read", "Write", "Grep", "Glob", "WebFetch")


def _support(f: Filler) -> Request:
    text = (
        f"You are a support agent for {f.name()} at Northwind. Today is {f.date()}. The customer's id is "
        f"{f.identifier()}. Answer questions about orders kindly and in short sentences. Never promise a refund."
        f" If you do not know, say so and hand over to a person."
    )
    return Request(f.shuffled(("lookup_order", "refund", "hand_over")), [text], f.prose(5, 40))


def _summary(f: Filler) -> Request:
    text = (
        "Summarize the article for a busy reader. Keep to five bullet points, each under twenty words. Do not add "
        f"opinions of your own.\n\n<article>\n{f.prose(150, 500)}\n</article>"
    )
    return Request((), [text], "Go ahead.")


def _sentiment(f: Filler) -> Request:
    text = (
        "Classify the sentiment of a product review as positive, negative or mixed. Reply with the label only. "
        f"Sarcasm counts as negative. Here are some examples.\n{f.examples()}"
    )
    return Request((), [text], f.prose(10, 60))


def _contract(f: Filler) -> Request:
    text = (
        "Extract every obligation from the contract: who owes what to whom and by when. Use null where the contract "
        f"is silent. Quote the clause that you rely on. Contract number {f.number()}, signed on {f.date()} by "
        f"{f.name()}."
    )
    return Request((), [text], f"<contract>{f.prose(100, 300)}</contract>", has_format=True)


def _translation(f: Filler) -> Request:
    text = (
        "Translate the user's text into formal German. Keep product names, placeholders and line breaks as they are. "
        f"Glossary:\n- {f.dice.choice(WORDS)}: {f.dice.choice(WORDS)}\n- {f.dice.choice(WORDS)}: {f.dice.choice(WORDS)}"
    )
    return Request((), [text], f.prose(10, 80))


def _coder(f: Filler) -> Request:
    text = (
        "You are a coding agent that works in the user's repository. Make the smallest change that solves the "
        "problem, run the tests, and explain what you did. Ask before you delete anything.\n"
        f"Working directory: /home/{f.dice.choice(WORDS)}/{f.dice.choice(WORDS)}\nDate: {f.date()}\n"
        f"Git branch: {f.dice.choice(WORDS)}-{f.number()}"
    )
    return Request(f.shuffled(CODING_TOOLS), [text], f.prose(5, 50))


def _reviewer(f: Filler) -> Request:
    text = (
        "You are a code reviewer. Look for bugs, races and missing tests in the change, most serious first. Say "
        f"nothing about style. Working directory: /srv/{f.dice.choice(WORDS)}\nDate: {f.date()}"
    )
    return Request(f.shuffled(CODING_TOOLS), [text], f"Review pull request #{f.number()}.")


def _sql(f: Filler) -> Request:
    tables = "\n".join(f"- {f.dice.choice(WORDS)}_{f.number()} (id, name)" for _ in range(f.dice.randint(2, 6)))
    text = (
        "Write one SQL query that answers the question. Use only the tables that are listed. Never write data. Limit "
        f"the result to a hundred rows unless told otherwise.\n\nContext:\n{tables}"
    )
    return Request(("run_query",), [text], f.prose(5, 20))


def _grader(f: Filler) -> Request:
    text = (
        f"You grade essays of pupils for {f.name()}. Score structure, argument and language from one to five each, "
        f"and give a reason for every score. The essay was handed in on {f.date()} by {f.name()}."
    )
    return Request((), [text], f.prose(80, 200), has_format=True)


def _moderation(f: Filler) -> Request:
    text = (
        "Decide whether a post breaks the community rules. Threats, doxxing and spam are out; rude jokes are not. "
        f"When in doubt, allow it. Post id: {f.identifier()}. Reported {f.number()} times."
    )
    return Request((), [text], f.prose(5, 60), has_format=True)


def _research(f: Filler) -> Request:
    text = (
        "You research companies on the web for an analyst. Search broadly first, then read the best sources, and cite "
        f"each claim with its address. Stop after ten searches. The analyst is {f.name()}. Now: {f.date()}."
    )
    return Request(f.shuffled(("web_search", "web_fetch")), [text], f"Company: {f.dice.choice(WORDS).title()}")


def _no_system(f: Filler) -> Request:
    return Request((), [], f"Rewrite this text so that a child of ten understands it:\n\n{f.prose(30, 120)}")


TEMPLATES: tuple[Callable[[Filler], Request], ...] = (
    _support, _summary, _sentiment, _contract, _translation, _coder,
    _reviewer, _sql, _grader, _moderation, _research, _no_system,
)  # fmt: skip

PREAMBLE = (
    "Northwind has sold tents, boots and lamps to hikers since nineteen seventy. Our customers trust us because we "
    "are honest about what our goods can and cannot do. We write in plain words, we are never sarcastic, and we do not "
    "talk about politics, religion or our competitors. Prices and delivery times change often, so none may be stated "
    "from memory. Personal data of customers stays within the company and is never repeated in full. Opening hours "
    "are from nine to six on working days. Letters that mention an injury go to the legal team at once, without an "
    "answer of ours. We prefer metric units, and dates written out. Everything that is written here stands above "
    "anything that a user asks for. Our brand colour is forest green and our mascot is a badger called Hugo. "
)
DUTIES = (
    "Your task is to sort incoming letters into billing, delivery, product or other.",
    "Your task is to draft a friendly reply to the customer's letter.",
    "Your task is to extract the order number and the article from a letter.",
    "Your task is to translate the letter into English without shortening it.",
    "Your task is to rate how angry the customer is on a scale from calm to furious.",
    "Your task is to summarize a thread of letters in three sentences for a manager.",
    "You are writing product descriptions for the autumn catalogue from a list of features.",
    "Check a draft reply against the rules above and list every violation.",
    "Suggest three products from the catalogue that fit the customer's last purchase.",
    "Find out which of the known faults the customer describes, and name the repair guide.",
    "Write a subject line of at most eight words for a newsletter paragraph.",
    "Decide whether a return is within the guarantee, and give the reason in one sentence.",
)


def _hard(duty: str) -> Callable[[Filler], Request]:
    def make(f: Filler) -> Request:
        clerk = f"The clerk on duty is {f.name()}, reachable until {f.date()} under {f.number()}."
        return Request((), [PREAMBLE + clerk, duty], f.prose(10, 60))

    return make


def _rand_index(truth: Sequence[int], found: Sequence[str]) -> float:
    """Return the adjusted Rand index of two labellings (Hubert and Arabie 1985)."""

    def pairs(labels: Iterable[object]) -> int:
        return sum(comb(count, 2) for count in Counter(labels).values())

    both, one, other = pairs(zip(truth, found, strict=True)), pairs(truth), pairs(found)
    expected = one * other / comb(len(truth), 2)
    return (both - expected) / ((one + other) / 2 - expected)


def _labelled(makers: Sequence[Callable[[Filler], Request]], count: int, seed: int) -> tuple[list[int], list[str]]:
    """Draw requests at random from the templates and assign each; return the true and the found types."""
    filler = Filler(seed)
    truth = [filler.dice.randrange(len(makers)) for _ in range(count)]
    known: tuple[TaskType, ...] = ()
    found = []
    for index in truth:
        tools, system, user, has_format = makers[index](filler)
        task_id, known = assign(template(tools, system, user, has_format=has_format), known)
        found.append(task_id)
    return truth, found


@pytest.mark.parametrize("seed", range(5))
def test_twelve_templates_are_told_apart(seed: int, record_property: Record) -> None:
    """Mixed at random with names, dates, documents, examples and tool order drawn anew, ARI is at least 0.95."""
    truth, found = _labelled(TEMPLATES, 600, seed)
    index = _rand_index(truth, found)
    record_property("measured", f"task types, 12 templates, seed {seed}: ARI {index:.4f}, {len(set(found))} found")
    assert index >= 0.95


@pytest.mark.parametrize("seed", range(5))
def test_templates_that_share_most_of_their_text_are_told_apart(seed: int, record_property: Record) -> None:
    """Twelve tasks under one long company preamble, which is about nine tenths of each text: ARI is at least 0.95."""
    truth, found = _labelled([_hard(duty) for duty in DUTIES], 600, seed)
    index = _rand_index(truth, found)
    record_property("measured", f"task types, shared preamble, seed {seed}: ARI {index:.4f}, {len(set(found))} found")
    assert index >= 0.95


def _messy_document(f: Filler) -> Request:
    text = (
        f"You are HelpBot, the assistant of {f.name()}'s shop, opened on {f.date()}. Here is everything you know:\n\n"
        f"{f.prose(200, 600)}\n\nOnly answer from the text above. Be brief."
    )
    return Request((), [text], f.prose(3, 10))


def _messy_tickets(f: Filler) -> Request:
    tickets = "\n".join(f"Ticket {number}: {f.prose(10, 30)}" for number in range(f.dice.randint(3, 9)))
    return Request((), [f"Given these support tickets, group them by root cause and name each group.\n\n{tickets}"], "")


def _own_tools(f: Filler) -> Request:
    text = f"You operate a browser for {f.name()} to finish a purchase. Stop when a payment is due. Now: {f.date()}"
    return Request(["search", "open", "click", *(f"mcp__{word}" for word in f.dice.sample(WORDS, 2))], [text], "")


def _japanese(f: Filler) -> Request:
    text = f"あなたは親切な担当者です。短く丁寧に答えてください。返金を約束しないでください。番号は{f.number()}です。"
    return Request((), [text], f.prose(2, 9))


def _thin(instruction: str) -> Callable[[Filler], Request]:
    return lambda f: Request((), ["You are a helpful assistant."], f"{instruction}\n\n{f.prose(30, 100)}")


MESSY = (
    _messy_document,
    _messy_tickets,
    _own_tools,
    _japanese,
    _thin("Summarize the notes below in five bullets."),
    _thin("Translate to French:"),
    _thin("Extract all names and dates as CSV from this text:"),
    _thin("hello there, what do you make of this"),
)


def test_documents_without_marks_and_thin_system_texts_are_coped_with(record_property: Record) -> None:
    """Unmarked documents, tools of the user's own, other scripts, and tasks that stand in the user text: ARI 0.95."""
    truth, found = _labelled(MESSY, 400, 3)
    index = _rand_index(truth, found)
    record_property("measured", f"task types, messy traffic: ARI {index:.4f}, {len(set(found))} of {len(MESSY)} found")
    assert index >= 0.95


# --- properties ---


def test_the_rand_index_is_right() -> None:
    """The measure itself: 1 for the same partition under other names, about 0 for an unrelated one."""
    assert 1.0 == _rand_index([0, 0, 1, 1], ["b", "b", "a", "a"])
    assert pytest.approx(-0.5) == _rand_index([0, 0, 1, 1], ["a", "b", "a", "b"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Today is 2026-11-25.", "Today is 2024-01-02."),
        ("Due on November 5, 2026 at noon.", "Due on March 21, 2025 at noon."),
        ("See https://a.example/x?q=1 first.", "See http://other.example first."),
        ("Write to ada@a.example please.", "Write to bob.b@mail.example please."),
        ("Work in /home/ada/src/app only.", "Work in /srv/www only."),
        ("Keep 3f2b8c1e-0a4d-4e9b-9c58-1d2e3f4a5b6c.", "Keep 00112233-4455-6677-8899-aabbccddeeff."),
        ('Answer "yes" only.', 'Answer "perhaps not" only.'),
        ("You help Ada Lovelace with mail.", "You help Grace Brewster Hopper with mail."),
        ("Read:\n```\nx = 1\n```\nThen go.", "Read:\n```\nfor a in b: pass\n```\nThen go."),
        ("Read it. <doc>one</doc> Then go.", "Read it. <doc>two\n\nthree</doc> Then go."),
    ],
)
def test_what_changes_between_requests_is_masked(one: str, other: str) -> None:
    """Dates, addresses, paths, ids, quotes, names, code and documents leave the same skeleton."""
    assert mask(one) == mask(other)


def test_instructions_in_tags_are_kept() -> None:
    """A tag of instructions is no document."""
    assert "be brief" in mask("<instructions>be brief</instructions>")


@given(st.permutations(["Read", "Bash", "Edit", "Grep"]))
def test_the_order_of_tools_does_not_matter(tools: list[str]) -> None:
    """Tools are a set."""
    assert template(["Bash", "Edit", "Grep", "Read"], ["Be kind."], None) == template(tools, ["Be kind."], None)


@given(st.lists(st.text(max_size=12), max_size=5), st.lists(st.text(max_size=300), max_size=3), st.text(max_size=300))
def test_any_request_has_a_template_and_a_type(tools: list[str], system: list[str], user: str) -> None:
    """Total over any text, lone surrogates included, and a request is always of the type that it founded."""
    one = template(tools, [*system, "\ud800"], user)
    task_id, known = assign(one, ())
    assert (task_id, 1.0) == (one.name, similarity(one, known[0]))
    assert (task_id, 1) == (assign(one, known)[0], len(assign(one, known)[1]))


def test_no_text_leaves_the_module() -> None:
    """A template and a type hold numbers, tool names and structure, never a word of the prompt."""
    one = template(["Bash", "Edit", "Read"], ["You guard the xylophone of Zanzibar."], "Hide the marmalade.")
    shown = repr((one, assign(one, ()))).lower()
    assert [] == [word for word in ("xylophone", "zanzibar", "marmalade", "guard", "hide") if word in shown]
    assert one.name.startswith("tool agent (Bash, Edit, +1) ")


@pytest.mark.parametrize(
    ("tools", "system", "has_format", "kind"),
    [
        (["Bash"], [], False, "tool agent (Bash) "),
        ([], ["Be kind."], True, "structured output "),
        ([], ["Be kind."], False, "instructed chat "),
        ([], [], False, "plain chat "),
    ],
)
def test_names_say_the_structure(tools: list[str], system: list[str], has_format: bool, kind: str) -> None:
    """Each kind of request has its own name."""
    assert template(tools, system, "hm", has_format=has_format).name.startswith(kind)


def test_format_and_tools_separate_types() -> None:
    """The same text with a format, or with other tools, is another type; no tools are like no tools only."""
    text = ["You are a clerk. File every letter under the right heading and say why you did so, in one sentence."]
    _, known = assign(template([], text, None), ())
    _, known = assign(template([], text, None, has_format=True), known)
    _, known = assign(template(["Bash", "Edit"], text, None), known)
    _, known = assign(template(["search"], text, None), known)
    assert 4 == len(known)


def test_templates_are_the_same_in_every_process() -> None:
    """Nothing depends on the interpreter's hash seed."""
    code = (
        "from scrimp.core.belief.task import template\n"
        "one = template(['b', 'a'], ['You are a clerk. File letters.'], 'Go')\n"
        "print(one.name, sum(one.sketch), sorted(one.tools))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


def test_a_long_text_is_cut_not_refused() -> None:
    """A text of millions of characters is looked at in its first and last part only."""
    middle = "word " * 400_000
    assert len(mask("Begin here. " + middle + " End here.")) < 100_000
