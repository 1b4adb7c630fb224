"""`reconcile`: does everything add up?"""

from __future__ import annotations

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database
from ctiqa_node.cli.moments import Since, moment_of
from ctiqa_node.ledger.account import Account
from ctiqa_node.ledger.reconcile import reconcile as read_books
from ctiqa_node.ledger.reconcile import record

TOLD = 50
"""The table shows so many; the JSON has up to a thousand."""


def reconcile(context: typer.Context, since: Since = None, as_json: AsJson = False) -> None:
    """Account for every instance that was answered with Success, and for all that was made of it.

    Each instance has one fate, and its file is on disk with the digest that was recorded; each job, result and delivery
    has a parent, and an end or a next step; each file has a row. Reads every file once; safe beside a running node.
    With --since only of what came since then files are read; rows are compared all the same, save for damage.

    \b
    Examples:
      ctiqa-node reconcile
      ctiqa-node reconcile --since 24h
      ctiqa-node reconcile --json | jq .troubles

    Exit codes: 0 everything adds up, 1 something does not (the table says what, and what to do).
    """
    config, moment = config_of(context), moment_of(since)
    with open_database(config, "reconcile") as database:
        account = read_books(config, database, moment)
        if moment is None:
            record(database, account)
    if as_json:
        console.print_json(account)
    else:
        _show(account)
    if not account.adds_up:
        raise typer.Exit(1)


def _show(account: Account) -> None:
    out = console.out()
    seconds = (account.finished_at - account.started_at).total_seconds()
    again = account.answers - account.instances
    out.print(
        console.facts(
            ("Instances", f"{account.instances}, " + (_fates(account) or "none yet")),
            ("Came again", again and f"{again} times, counted and not kept twice"),
            ("Work", f"series {account.series}, jobs {account.jobs}, results {account.outputs}, "
                     f"deliveries {account.deliveries}"),
            ("Read", f"{account.files_read} files, {account.bytes_read / 2**20:.1f} MiB, in {seconds:.1f} s"),
            ("Purged", account.purged and f"{account.purged} instances, which the audit tells"),
            ("To be removed", account.to_be_removed and f"{account.to_be_removed} files, within minutes"),
            ("Being written", account.in_flight and f"{account.in_flight} files, which need no row yet"),
            ("Set aside", account.set_aside and f"{account.set_aside} files in spool/unclaimed: left by a crash, their "
                                                "senders were never told Success"),
        )
    )  # fmt: skip
    if account.adds_up:
        console.say("Everything adds up.", style="bold green")
        return
    table = console.table(None, "What", "Series", "What happened", "What to do")
    for trouble in account.troubles[:TOLD]:
        console.row(table, trouble.kind, trouble.series_instance_uid, trouble.what, trouble.to_do)
    out.print()
    out.print(table)
    if account.trouble_count > TOLD:
        console.say(f"{account.trouble_count - TOLD} more; --json tells up to a thousand.")
    places = "one place" if account.trouble_count == 1 else f"{account.trouble_count} places"
    console.say(f"It does not add up in {places}.", style="bold red")


def _fates(account: Account) -> str:
    return ", ".join(f"{count} {fate}" for fate, count in account.fates.items())
