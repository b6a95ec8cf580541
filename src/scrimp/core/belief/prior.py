"""What real sessions of other people teach about pauses, for an account of which nothing is known yet.

Printed by `tools/fit_prior.py` from recorded Claude Code sessions of three public projects (entire_cli, ccviewer and
sniffly, MIT licence): numbers only. The table is worth 150 pauses of a user's own.
"""

from __future__ import annotations

#: For each span of `gaps.EDGES_MS`: returns of people, and the seconds that they were waited for.
PRIOR_RETURNS = (
    14.35,
    5.16,
    3.36,
    1.79,
    0.90,
    0.45,
    0.22,
    0.45,
    0.67,
    0.45,
    0.45,
    0.45,
    0.00,
    0.90,
    0.00,
    0.45,
    0.00,
    0.00,
)
PRIOR_SECONDS = (
    12842,
    10160,
    8601,
    7709,
    7063,
    6756,
    6609,
    6449,
    6176,
    6567,
    10139,
    28049,
    29131,
    98919,
    144520,
    216937,
    226439,
    263092,
)

#: group of pauses -> returns, and those that the table alone foresees for it.
PRIOR_RATIOS = {
    "0": (20.85, 39.08),
    "1": (32.29, 27.64),
    "2": (13.45, 11.49),
    "3": (23.54, 10.15),
    "left": (2.69, 16.35),
    "question": (0.0, 1.78),
}

#: Price of a read over the base price -> what an hour saves, in tokens at the base price, for each appended token.
PRIOR_HOUR_SAVED = ((0.025, 0.17), (0.05, 0.33), (0.1, 0.47))
