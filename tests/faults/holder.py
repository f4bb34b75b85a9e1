"""A worker that claims a slot, prints that, waits for a line, and then records its result.

python holder.py URL STUDY LEASE
"""

import sys

from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.errors import LeaseLost
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.study.study import load_study
from widthwise.tests.one_slot import bind_one, claim_one, settle_one

with Database.open(resolve_url(sys.argv[1])) as database:
    study = load_study(database, sys.argv[2])
    ledger = Ledger(database, study, worker="holder", lease_seconds=float(sys.argv[3]))
    slot = claim_one(ledger)
    assert slot is not None
    slot = bind_one(ledger, slot, {"a": 8, "b": 8}, "chance")
    sys.stdout.write("holding\n")
    sys.stdout.flush()
    sys.stdin.readline()
    try:
        settle_one(ledger, slot, outcome="complete", value=1.0, result={})
    except LeaseLost as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write("recorded\n")
