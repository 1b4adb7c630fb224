"""A database as a node has it after years: made by SQLite itself out of counted numbers, and kept for the next run."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from bench.timing import say
from ctiqa_node.db.revision import current_and_head
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.state import StateFolder

DESTINATIONS = ("pacs", "viewer")
SLICES = 34
_RECIPE = "3"
"""Another one when what is below changes, so that databases of before are not used again."""

# The newest series came a quarter of an hour ago, the oldest two years ago. Every tenth was no axial CT, every 500th
# failed, every thousandth could not be delivered whole, and the newest of all wait to be assessed.
_MADE = """
CREATE TEMP TABLE made AS
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :series)
SELECT n, '1.2.826.0.1.3680043.8.498.' || n AS uid, (:series - n) * 730.0 / :series AS days,
  strftime('%Y-%m-%d %H:%M:%S', 'now', '-15 minutes', '-' || ((:series - n) * 63072000 / :series) || ' seconds')
    || '.000000' AS at,
  CASE WHEN n > :series - :series / 500 THEN 'complete' WHEN n % 500 = 0 THEN 'failed' WHEN n % 10 = 0 THEN 'skipped'
    WHEN n % 1000 = 1 THEN 'undelivered' ELSE 'delivered' END AS state
FROM number;
CREATE TEMP TABLE assessed AS SELECT * FROM made WHERE state IN ('delivered', 'undelivered');
CREATE TEMP TABLE slice AS
WITH RECURSIVE slice(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM slice WHERE k < :slices) SELECT k FROM slice;
CREATE TEMP TABLE model(m, name, slices, summary);
INSERT INTO model VALUES (1, 'tfkt', 1, 'score'), (2, 'n2q', 1, 'quality'), (3, 'global_noise', 1, 'noise'),
  (4, 'snr', 0, 'snr'), (5, 'brisque', 0, 'brisque'), (6, 'chest_ctiqa', 0, 'snr');
CREATE TEMP TABLE kind(k, name, class);
INSERT INTO kind VALUES (1, 'sr', '1.2.840.10008.5.1.4.1.1.88.33'), (2, 'summary', '1.2.840.10008.5.1.4.1.1.7'),
  (3, 'parametric_map', '1.2.840.10008.5.1.4.1.1.30');
CREATE TEMP TABLE goal(d, name);
INSERT INTO goal VALUES (1, 'pacs'), (2, 'viewer');
"""

# One destination takes no Parametric Maps; the report of an undelivered series was given up at the other; what was made
# in the last ten minutes of the two years still waits there.
_ROWS = """
INSERT INTO associations (id, calling_ae_title, called_ae_title, address, port, opened_at, closed_at, outcome, stored,
    refused)
  SELECT n, 'CT' || n % 7, 'CTIQA', '10.0.0.' || n % 7, 40000, at, at, 'released', :slices, 0 FROM made;
INSERT INTO series (id, series_instance_uid, study_instance_uid, accession_number, patient_id, patient_name, study_date,
    modality, description, state, state_since, revision, first_instance_at, last_instance_at)
  SELECT n, uid, uid || '.0', printf('A%08d', n), printf('P%07d', n / 3), 'Benchmark^' || n / 3, '20260101', 'CT',
    'Thorax 1.0 Br40', state, at, state NOT IN ('skipped'), at, at FROM made;
INSERT INTO series_history (series_id, at, event, from_state, to_state)
  SELECT n, at, 'event', 'receiving', state FROM made, (SELECT k FROM slice LIMIT 5);
INSERT INTO instances (series_id, association_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, sha256, bytes,
    path, state, received_at, copies, modality, image_type, orientation, frames, own_result, assessed_in, expired_at)
  SELECT n, n, uid || '.1.' || k, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1',
    printf('%064x', n * 1000 + k), 525312, printf('objects/%02x/%030x.dcm', k % 256, n * 1000 + k), 'kept', at, 1, 'CT',
    '["ORIGINAL", "PRIMARY", "AXIAL"]', '[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]', 1, 0,
    CASE WHEN state IN ('delivered', 'undelivered') THEN 1 END, CASE WHEN days > 7 THEN at END FROM made, slice;
INSERT INTO jobs (task, series_id, revision, state, attempts, created_at, not_before, finished_at, progress)
  SELECT 'analyse', n, 1, CASE state WHEN 'complete' THEN 'todo' WHEN 'failed' THEN 'failed' ELSE 'done' END, 1, at, at,
    at, 1 FROM made WHERE state <> 'skipped';
INSERT INTO assessed_volumes (series_id, revision, slices, completeness, missing_slices, findings)
  SELECT n, 1, :slices, 'complete', 0, '[]' FROM assessed;
INSERT INTO assessments (id, series_id, revision, model, version, trained_on, summary, status, unscored_slices, device,
    seconds, assessed_at)
  SELECT n * 6 + m, n, 1, name, '1.0', 'simulated scans', 'as the paper has it', 'scored', '{}', 'cpu', 1.5, at
  FROM assessed, model;
INSERT INTO measurements (assessment_id, name, value, unit)
  SELECT n * 6 + m, summary, 1.0 + n % 3, '1' FROM assessed, model;
INSERT INTO measurements (assessment_id, name, value, unit)
  SELECT n * 6 + m, summary || '_spread', 0.5, '1' FROM assessed, model;
INSERT INTO measurements (assessment_id, name, value, unit, slice_index, sop_instance_uid)
  SELECT n * 6 + m, summary, 1.0 + k % 3, '1', k - 1, uid || '.1.' || k FROM assessed, model, slice WHERE model.slices;
INSERT INTO classifications (assessment_id, name, label, probability)
  SELECT n * 6 + 6, 'window', 'class' || k, 0.25 FROM assessed, slice WHERE k <= 4;
INSERT INTO outputs (id, series_id, revision, kind, sop_class_uid, sop_instance_uid, path, sha256, made_at, state,
    removed_at)
  SELECT n * 3 + k, n, 1, name, class, uid || '.2.' || k, n || '/1-' || name || '.dcm', printf('%064x', n * 3 + k), at,
    CASE WHEN days > 30 THEN 'removed' ELSE 'kept' END, CASE WHEN days > 30 THEN at END FROM assessed, kind;
INSERT INTO deliveries (id, output_id, destination, state, attempts, created_at, next_try_at, sent_at)
  SELECT (n * 3 + k) * 2 + d, n * 3 + k, goal.name,
    CASE WHEN k = 3 AND d = 2 THEN 'refused' WHEN assessed.state = 'undelivered' AND d = 1 THEN 'failed'
      WHEN days < 730.0 / 100 AND d = 1 AND n % 50 = 1 THEN 'pending' ELSE 'sent' END, 1, at, at,
    CASE WHEN k < 3 THEN at END FROM assessed, kind, goal;
INSERT INTO delivery_tries (delivery_id, at, status, answer)
  SELECT id, created_at, 0, 'Success' FROM deliveries;
INSERT INTO audit (at, event, who, address, detail)
  SELECT at, 'received', 'CT' || n % 7, '10.0.0.1', '{"stored": 34}' FROM made;
INSERT INTO heartbeats (process, pid, started_at, at, detail) VALUES ('recipe', 0, '2026-01-01 00:00:00.000000',
    '2026-01-01 00:00:00.000000', json_object('recipe', :recipe));
"""


@dataclass(frozen=True, slots=True)
class BigDatabase:
    """The state folder of a node that has seen much, and what is in its database."""

    folder: StateFolder
    series: int
    measurements: int
    instances: int
    mebibytes: float


def big_database(scratch: Path, series: int) -> BigDatabase:
    """A database of so many series, from an earlier run where there is one."""
    folder = StateFolder(scratch / f"node-{series}")
    found, needed = current_and_head(folder.database)
    if found is not None and found != needed and _recipe_of(folder.database) == _RECIPE:
        upgrade(folder.database)
    elif found != needed or _recipe_of(folder.database) != _RECIPE:
        _make(folder, series)
    with sqlite3.connect(folder.database) as connection:
        count = connection.execute("SELECT (SELECT count(*) FROM measurements), (SELECT count(*) FROM instances)")
        measurements, instances = count.fetchone()
    return BigDatabase(folder, series, measurements, instances, folder.database.stat().st_size / 2**20)


def _make(folder: StateFolder, series: int) -> None:
    folder.create()
    for file in folder.root.glob("ctiqa.sqlite*"):
        file.unlink()
    upgrade(folder.database)
    began = time.monotonic()
    connection = sqlite3.connect(folder.database, isolation_level=None)
    for setting in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {setting}")
    given = {"series": series, "slices": SLICES, "recipe": _RECIPE}
    connection.execute("BEGIN")
    # Indexes are made when the rows are there: in one go and in order, as SQLite does it fastest.
    made = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type ="
    indexes = connection.execute(f"{made} 'index'").fetchall()
    triggers = connection.execute(f"{made} 'trigger'").fetchall()
    for kind, each in (("INDEX", indexes), ("TRIGGER", triggers)):
        for name, _ in each:
            connection.execute(f"DROP {kind} {name}")
    for statement in [*_MADE.split(";\n"), *_ROWS.split(";\n")]:
        if statement.strip():
            connection.execute(statement, {key: value for key, value in given.items() if f":{key}" in statement})
            say(f"{time.monotonic() - began:.0f} s: {statement.strip().splitlines()[0][:60]}")
    for _, sql in (*indexes, *triggers):
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    say(f"database of {series} series made in {time.monotonic() - began:.0f} s")


def _recipe_of(database: Path) -> str | None:
    with sqlite3.connect(database) as connection:
        row = connection.execute("SELECT json_extract(detail, '$.recipe') FROM heartbeats WHERE process = 'recipe'")
        found = row.fetchone()
    return None if found is None else str(found[0])
