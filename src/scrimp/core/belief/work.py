"""Kinds of work of agents that carry no tags and no template of their own: Claude Code's.

A type is the request's class x the agent's type x the slash command or skill at work x the cluster of the first
prompt. A session keeps the cluster of the first prompt that says what it is for; a slash command or a skill names
the exchanges from there to the next prompt of its own; a subagent of a special kind is its type, one of a general kind
also gets the cluster of the prompt it was launched with. Where no prompt says anything, the tools used do, so that
there is no type that holds whatever was not understood.

A prompt's cluster is the nearest of a fixed table of kinds of work: each known word stem votes for one kind, words
near the start more. The table is general English of software work with the same words in a few more languages; names
come from the table and from command, skill and agent names, never from a prompt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection

#: kind of work -> {weight: word stems}. A stem matches as whole word after `_stem`.
WORK = {
    "fix bug": {
        3: "fix bug debug broke broken crash regression traceback stacktrace panic segfault hotfix repair",
        2: "fail failure error exception issue wrong incorrect problem weird unexpected hang flaky troubleshoot",
        1: "corrige arregla behebe fehler erreur исправь ошибка",
    },
    "review": {
        3: "review feedback critique audit reviewer",
        2: "validate verify assess evaluate double-check inspect nitpick",
        1: "révise revisa überprüfe проверь",
    },
    "git & PR": {
        3: "commit rebase push cherry-pick pull-request stash squash conflict worktree",
        2: "branch merge pr prs pull github gitlab remote checkout tag fork upstream",
        1: "git gh diff main master",
    },
    "tests": {
        3: "test unittest pytest jest coverage e2e testcase",
        2: "spec fixture mock assertion integration unit",
        1: "prueba testen тест",
    },
    "docs": {
        3: "readme documentation docs changelog docstring",
        2: "document doc wiki tutorial guide markdown claude.md agents.md license",
        1: "comment typo wording",
    },
    "refactor": {
        3: "refactor rename simplify cleanup deduplicate restructure reorganize consolidate modernize",
        2: "extract inline move remove delete replace clean split migrate convert tidy adjust change",
        1: "drop duplication duplicate",
    },
    "implement feature": {
        3: "implement build create scaffold develop",
        2: "add write make feature support introduce extend generate integrate prototype include allow enable",
        1: "new want need should ajoute añade crea erstelle füge hinzu créer добавь создай",
    },
    "explain": {
        3: "explain understand describe clarify",
        2: "why how mean walk summarize tell",
        1: "what where which who show look know explique explica erkläre объясни почему",
    },
    "plan & design": {
        3: "plan design brainstorm propose proposal roadmap rfc adr",
        2: "architecture approach strategy option tradeoff consider think idea scope estimate effort achieve",
        1: "discuss suggest recommend",
    },
    "research": {
        3: "research investigate compare benchmark survey explore analyze",
        2: "find search analysis evaluate look-up examine study identify check",
        1: "locate discover list",
    },
    "set-up & release": {
        3: "install deploy release configure setup docker dockerfile kubernetes terraform upgrade",
        2: "config configuration environment env dependency version bump pipeline workflow publish package npm pip",
        1: "ci cd yaml secret settings",
    },
    "data & queries": {
        3: "sql dataset csv dataframe notebook pandas plot chart",
        2: "query database table data graph metric column embedding",
        1: "report statistics excel",
    },
    "run commands": {
        3: "run execute rerun",
        2: "start launch restart command script",
        1: "shell terminal",
    },
    "write text": {
        3: "translate essay blog email article newsletter",
        2: "rewrite rephrase draft letter copywriting story",
        1: "sentence paragraph",
    },
}

#: Scripts without spaces between words: kind of work -> pieces looked for anywhere in the prompt.
UNSPACED = {
    "fix bug": ("修复", "修正", "错误", "報錯", "报错", "バグ", "エラー", "直して", "버그", "수정", "오류"),
    "review": ("审查", "评审", "レビュー", "検証", "리뷰", "검토"),
    "git & PR": ("提交", "合并", "コミット", "プッシュ", "マージ", "커밋", "병합"),
    "tests": ("测试", "テスト", "테스트"),
    "docs": ("文档", "ドキュメント", "アップデート", "문서"),
    "refactor": ("重构", "重命名", "リファクタ", "整理", "리팩"),
    "implement feature": ("实现", "添加", "创建", "新增", "実装", "追加", "作成", "작성", "추가", "구현"),
    "explain": ("解释", "为什么", "什么", "説明", "なぜ", "教えて", "설명", "왜"),
    "plan & design": ("计划", "设计", "計画", "設計", "계획", "설계"),
    "research": ("分析", "调查", "研究", "調査", "比較", "조사", "분석"),
    "set-up & release": ("安装", "部署", "配置", "インストール", "デプロイ", "設定", "설치", "배포"),
    "write text": ("翻译", "翻訳", "번역"),
}

#: Openings that clients write themselves -> kind of work.
OPENINGS = {
    "implement the following plan": "implement plan",
    "this session is being continued": "continued session",
}

#: Slash commands that clients handle themselves: they send nothing, so they are not work.
LOCAL_COMMANDS = frozenset(
    "add-dir agents bashes bug clear color compact config context copy cost doctor effort exit export extra-usage fast "
    "feedback fork help hooks ide install-github-app keybindings login logout mcp memory mobile model output-style "
    "permissions plan plugin privacy-settings quit release-notes remote-control remote-env rename resume rewind "
    "sandbox skills stats status statusline stickers tasks terminal-setup theme todos upgrade usage vim voice".split()
)

#: Agents for anything: their type alone says nothing about the work.
GENERAL_AGENTS = frozenset({"general-purpose", "claude", "worker", "default", "agent"})

#: Tools by what using them says, the strongest first.
TOOL_KINDS = (
    ("other: edits files", frozenset({"Edit", "Write", "MultiEdit", "NotebookEdit"})),
    ("other: runs commands", frozenset({"Bash", "BashOutput", "PowerShell"})),
    ("other: searches the web", frozenset({"WebSearch", "WebFetch"})),
    ("other: reads files", frozenset({"Read", "Grep", "Glob", "LS"})),
)

#: Begins the activity of a skill at work.
SKILL = "skill: "
_SUBAGENT = "subagent: "

_NOISE = re.compile(
    r"\[Request interrupted|Caveat: The messages below|<(local-command-|bash-|task-notification|user-memory-input)"
)
#: What clients add stands between tags of these names.
_ADDED = re.compile(r"<(/?)(system-reminder|ide_\w+|user-prompt-submit-hook)\b>?")
_COMMAND = re.compile(r"<command-name>\s*/?([^<\s]+)\s*</command-name>|(?<!\s)\s*/([A-Za-z][\w:-]*)(?=\s|$)")
_WORD = re.compile(r"[^\W\d_][\w.-]*[^\W_]|[^\W\d_]")
_ACK = frozenset(
    "yes yep yeah yup ok okay sure please go ahead on continue proceed do it that this thanks thank you great good "
    "next lgtm perfect cool fine right y correct".split()
)

#: How much of a prompt is looked at, and up to where a word counts double.
PROMPT_CHARS_READ = 600
WORDS_READ = 60
WORDS_DOUBLE = 8


def _stem(word: str) -> str:
    """Cut English endings that do not change what a word stands for."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:  # noqa: PLR2004 - "add" is the shortest stem
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e")


_VOTES = {
    _stem(word): (work, weight)
    for work, votes in WORK.items()
    for weight, words in votes.items()
    for word in words.split()
}
_ORDER = {work: index for index, work in enumerate(WORK)}


def clean(text: str) -> str:
    """Return what a person wrote: without what clients add to a prompt, "" if nothing is left."""
    if _NOISE.match(text.lstrip()):
        return ""
    return _without_added(text).strip() if "<" in text else text.strip()


def _without_added(text: str) -> str:
    """Return a text without what stands between a tag of `_ADDED` and the next that closes it.

    By hand, not by one pattern: a text full of tags that are never closed must not cost more than another.
    """
    tags = list(_ADDED.finditer(text))
    last_closing = {tag[2]: tag.start() for tag in tags if tag[1] and tag[0].endswith(">")}
    parts: list[str] = []
    at = 0
    for tag in tags:
        if not tag[1] and tag.start() >= at and last_closing.get(tag[2], -1) >= tag.end():
            parts.append(text[at : tag.start()])
            closing = f"</{tag[2]}>"
            at = text.index(closing, tag.end()) + len(closing)
    return "".join([*parts, text[at:]])


def command_of(prompt: str) -> str | None:
    """Return the slash command that a prompt starts with ("/review"), or None; a path is not a command."""
    found = _COMMAND.match(prompt) or (_COMMAND.search(prompt) if prompt.startswith("<command-") else None)
    return f"/{found[1] or found[2]}" if found else None


def is_local(command: str) -> bool:
    """Whether the client handles this command itself."""
    return command.removeprefix("/") in LOCAL_COMMANDS


def is_acknowledgement(prompt: str) -> bool:
    """Whether a prompt only says to go on, so that it does not end the work in hand."""
    words = _WORD.findall(prompt[:80].lower())
    return len(words) <= 5 and all(word in _ACK for word in words)  # noqa: PLR2004 - "yes please go ahead thanks"


def cluster_of(prompt: str) -> str | None:
    """Return the kind of work that a prompt asks for, None if it says nothing that the table knows."""
    text = prompt[:PROMPT_CHARS_READ].lower()
    for opening, work in OPENINGS.items():
        if text.startswith(opening):
            return work
    votes: dict[str, int] = defaultdict(int)
    places = {_stem(word): index for index, word in reversed([*enumerate(_WORD.findall(text)[:WORDS_READ])])}
    for stem, index in places.items():
        if stem in _VOTES:
            work, weight = _VOTES[stem]
            votes[work] += weight * (2 if index < WORDS_DOUBLE else 1)
    if not text.isascii():
        for work, pieces in UNSPACED.items():
            votes[work] += 3 * sum(piece in text for piece in pieces)
    best = max(votes, key=lambda work: (votes[work], -_ORDER[work]), default="")
    if votes[best]:
        return best
    return "explain" if prompt.rstrip().endswith(("?", "？")) else None  # noqa: RUF001 - the full-width mark


def tool_cluster(tools: Collection[str]) -> str:
    """Name work by the tools it used, for want of a prompt that says what it is."""
    return next((kind for kind, names in TOOL_KINDS if not names.isdisjoint(tools)), "other: conversation")


def name_type(request_class: str | None, agent_type: str | None, activity: str | None, cluster: str) -> str:
    """Return the readable task type of an exchange: "fix bug", "/review", "subagent: Explore", "auxiliary: title"."""
    if request_class == "compaction":
        return "/compact"
    if request_class == "auxiliary":
        return f"auxiliary: {activity or 'side request'}"
    work = activity or cluster
    return _of_agent(agent_type, work) if request_class == "subagent" else work


def _of_agent(agent_type: str | None, work: str) -> str:
    if agent_type is None:
        return f"{_SUBAGENT}{work}"
    special = agent_type not in GENERAL_AGENTS and not work.startswith(("/", SKILL))
    return f"{_SUBAGENT}{agent_type}" if special else f"subagent {agent_type}: {work}"


def with_agent_type(task_type: str | None, agent_type: str) -> str | None:
    """Return a subagent's task type again, now that the type of its agent is known."""
    if task_type is None or not task_type.startswith(_SUBAGENT):
        return task_type
    return _of_agent(agent_type, task_type.removeprefix(_SUBAGENT))
