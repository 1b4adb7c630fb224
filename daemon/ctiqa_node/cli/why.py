"""`why`: the whole story of a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database
from ctiqa_node.cli.results import named_series, series_header
from ctiqa_node.story import Happening, SeriesStory, tell


def why(
    context: typer.Context,
    series: Annotated[
        str,
        typer.Argument(
            metavar="SERIES|ACCESSION", help="Series or Study Instance UID, accession number or patient ID."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of a series: who sent it and when, what was skipped and why, each try and each answer.

    \b
    Examples:
      ctiqa-node why 20260102-0042
      ctiqa-node why 1.2.840.113619.2.55.3.1234 --json

    Of what repeats itself the table shows the first and the last time; the JSON has all.

    Exit codes: 0 told, 1 no series is known by the argument.
    """
    with open_database(config_of(context), "why") as database, database.read() as session:
        stories = [tell(session, each) for each in named_series(session, series)]
    if as_json:
        console.print_json(stories)
        return
    for story in stories:
        _show(story)


def _show(story: SeriesStory) -> None:
    out = console.out()
    out.print(series_header(story.series))
    table = console.table(None, "Time (UTC)", "What happened", "Detail")
    for happening in folded(story.happenings):
        console.row(table, console.when(happening.at), happening.what, happening.detail)
    out.print(table)
    out.print()


def folded(happenings: Sequence[Happening]) -> Iterator[Happening]:
    """Of what happened again and again, as a try that fails for days, keep the first and the last time."""
    total = Counter(happening.what for happening in happenings)
    seen: Counter[str] = Counter()
    for happening in happenings:
        seen[happening.what] += 1
        between = total[happening.what] - 2
        if seen[happening.what] == 1 or between <= 0:
            yield happening
        elif seen[happening.what] == total[happening.what]:
            detail = "; ".join(filter(None, (f"{console.counted(between, 'time')} more in between", happening.detail)))
            yield happening.model_copy(update={"detail": detail})
