"""`status`: how the node fares, on one page."""

from __future__ import annotations

import typer
from rich.console import RenderableType
from rich.text import Text

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database, readable_state
from ctiqa_node.config import Config
from ctiqa_node.golden_result import GoldenResult
from ctiqa_node.health import NodeStatus, Verdict, node_status
from ctiqa_node.state import StateFolder

_COLOURS = {Verdict.FINE: "green", Verdict.DEGRADED: "yellow", Verdict.DOWN: "red"}


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how the node fares: listening address, associations, series, queue, worker, destinations, disk, results.

    Works beside a running node and without one. Times are UTC.

    \b
    Examples:
      ctiqa-node status
      ctiqa-node status --json | jq .complaints
      watch ctiqa-node status

    Exit codes: 0 fine, 1 degraded (the complaints say why), 2 down.
    """
    found = _look(config_of(context))
    if as_json:
        console.print_json(found)
    else:
        _show(found)
    raise typer.Exit(int(found.verdict))


def _look(config: Config) -> NodeStatus:
    with readable_state(config):
        if StateFolder(config.node.state_dir).database.exists():
            with open_database(config):
                pass  # it is there, and of this version
        return node_status(config)


def _show(found: NodeStatus) -> None:
    out = console.out()
    colour = _COLOURS[found.verdict]
    console.say(f"● {found.verdict.name.lower()}", style=f"bold {colour}")
    for complaint in found.complaints:
        console.say(f"  {complaint}", style=colour)
    out.print(_facts(found))
    for part in (_associations(found), _rejected(found), _destinations(found), _refusals(found), _results(found)):
        if part is not None:
            out.print()
            out.print(part)


def _facts(found: NodeStatus) -> RenderableType:
    since = found.running_since
    oldest = found.queue_oldest_at
    return console.facts(
        ("Node", f"{found.ae_title} on {found.address} port {found.port}"),
        ("Running since", since and f"{console.when(since)} UTC ({console.age(since)}), version {found.version}"),
        ("Worker", _worker(found)),
        ("Golden series", found.golden and _golden(found.golden)),
        ("Queue", f"{found.queue_depth} waiting" + (f", the oldest queued {console.age(oldest)}" if oldest else "")),
        ("Series", ", ".join(f"{count} {state}" for state, count in sorted(found.series.items())) or "none yet"),
        ("Not made", ", ".join(f"{kind} of {count} series" for kind, count in found.not_made.items()) or None),
        ("Associations", f"{len(found.associations)} open" + _rejected_in_short(found)),
        ("Results", _outputs(found)),
        (
            "Disk",
            found.disk_free_mib
            and f"{found.disk_free_mib} MiB free, {found.disk_min_free_mib} MiB are kept free, associations are taken "
            f"from {found.disk_watermark_mib} MiB on",
        ),
        ("Books", _books(found)),
        ("State folder", found.state_dir),
    )


def _outputs(found: NodeStatus) -> str:
    days = found.outputs_keep_days
    how_long = "for ever" if days is None else f"for {days:g} days after the last delivery"
    removed = f"; {found.outputs_removed} removed" if found.outputs_removed else ""
    return f"{console.counted(found.outputs_kept, 'object')} kept, {how_long}{removed}"


def _books(found: NodeStatus) -> str:
    last = found.last_reconciliation
    if last is None:
        return "not read yet"
    fates = ", ".join(f"{count} {fate}" for fate, count in last.fates.items()) or "no instances"
    words = "add up" if last.adds_up else f"did not add up in {console.counted(last.troubles, 'place')}"
    return f"{words}, read {console.age(last.at)}: {fates}"


def _worker(found: NodeStatus) -> str:
    worker = found.worker
    if not worker.alive:
        return "not running"
    doing = "idle" if worker.job is None else f"at job J{worker.job}, {100 * (worker.progress or 0):.0f} %"
    return f"{worker.device}, {doing} (process {worker.pid})"


def _golden(result: GoldenResult) -> str:
    return f"{'the shipped values' if result.ok else 'other values than shipped'}, looked at {console.age(result.at)}"


def _associations(found: NodeStatus) -> RenderableType | None:
    if not found.associations:
        return None
    table = console.table("Open associations", "Calling AE", "Address", "Opened", "Stored")
    for association in found.associations:
        console.row(
            table,
            association.calling_ae_title,
            association.address,
            console.age(association.opened_at),
            association.stored,
        )
    return table


def _rejected_in_short(found: NodeStatus) -> str:
    return f", {found.associations_rejected} rejected since the start" if found.associations_rejected else ""


def _rejected(found: NodeStatus) -> RenderableType | None:
    if not found.rejected:
        return None
    table = console.table("Rejected associations, the last ones", "Address", "Calling AE", "Times", "Last", "Because")
    for each in found.rejected:
        console.row(table, each.address, each.calling_ae_title, each.count, console.age(each.last_at), each.reason)
    return table


def _destinations(found: NodeStatus) -> RenderableType | None:
    if not found.destinations:
        return None
    table = console.table(
        "Destinations", "Name", "Sent", "Waiting", "Given up", "Refused", "Oldest", "Next try", "Last trouble"
    )
    for each in found.destinations:
        console.row(
            table,
            each.name,
            each.sent,
            f"{each.pending}, {each.uncommitted} for commitment" if each.uncommitted else each.pending,
            each.failed,
            each.refused,
            each.oldest_pending_at and console.age(each.oldest_pending_at),
            each.next_try_at and console.age(each.next_try_at),
            each.last_trouble,
        )
    return table


def _refusals(found: NodeStatus) -> RenderableType | None:
    sentences = [f"{each.name} {refusal.sentence}" for each in found.destinations for refusal in each.does_not_take]
    return Text("\n".join(sentences)) if sentences else None


def _results(found: NodeStatus) -> RenderableType | None:
    if not found.last_results:
        return None
    table = console.table("Last results", "Accession", "Series", "State", "Since", "Values")
    for series in found.last_results:
        console.row(
            table,
            series.accession_number,
            series.description,
            series.state,
            console.age(series.state_since),
            console.values_in_short(series.models) or "not scored",
        )
    return table
