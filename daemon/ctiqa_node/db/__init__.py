"""The database: tables, sessions, upgrades."""

from ctiqa_node.db import books as books  # so that whoever knows any table knows them all
from ctiqa_node.db import clock as clock
from ctiqa_node.db import commitments as commitments
from ctiqa_node.db import evidence as evidence
