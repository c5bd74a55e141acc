"""Audit events in the transaction of the change that they are about, from Python with psycopg 3.

Needs DATABASE_URL, ATTESTLOG_URL (a running server), ATTESTLOG_POLICY (a file: whose signature to trust) and the
program `attestlog` in PATH.
"""

import json
import os
import secrets
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timezone
from pathlib import Path

import psycopg

LOG = "default"
LOG_URL = f"{os.environ['ATTESTLOG_URL']}/logs/{LOG}"


def uuidv7() -> str:
    """The time in milliseconds, the version, chance, the variant, chance: RFC 9562, section 5.7."""
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=number))


def event(action: str, actor: str, target: tuple[str, str], **more: object) -> dict:
    """An audit event. Its id is also its idempotency key."""
    return {
        "id": uuidv7(),
        "action": action,
        "occurred_at": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "actor": {"type": "user", "id": actor},
        "targets": [{"type": target[0], "id": target[1]}],
        "outcome": "success",
        **more,
    }


def append(connection: psycopg.Connection, event: dict) -> tuple[int, bytes]:
    """Appends within the caller's transaction. Returns the ticket, and the bytes that the receipt will be about."""
    entry = json.dumps(event, ensure_ascii=False).encode()
    row = connection.execute("select attestlog.append(%s, %s::bytea, %s)", (LOG, entry, event["id"])).fetchone()
    return row[0], entry


def get(path: str) -> bytes:
    with urllib.request.urlopen(f"{LOG_URL}/{path}", timeout=10) as answer:
        return answer.read()


def wait_for_receipt(ticket: int, seconds: float = 60) -> tuple[int, bytes]:
    """Waits until a signed head covers the entry. Returns its index and its receipt."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = json.loads(get(f"tickets/{ticket}"))
        if status["status"] == "processed":
            return status["index"], get(f"entries/{status['index']}/receipt")
        time.sleep(0.05)
    raise TimeoutError(f"no receipt for ticket {ticket}")


def verify(entry: bytes, receipt: bytes) -> int:
    """0: it holds. 1: it is proven not to hold. 2: it could not be checked. Needs no network."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "entry").write_bytes(entry)
        (Path(folder) / "receipt").write_bytes(receipt)
        policy = os.environ["ATTESTLOG_POLICY"]
        command = ["attestlog", "verify", "--policy", policy, "--entry", f"{folder}/entry", f"{folder}/receipt"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    connection.execute("create table if not exists invoice (id bigint primary key, state text not null)")
    connection.execute("insert into invoice values (9, 'open') on conflict (id) do update set state = 'open'")

    # The change and its event: both, or neither.
    voided = event("invoice.voided", "usr_7", ("invoice", "9"), changes={"before": {"state": "open"}, "after": {"state": "void"}})
    with connection.transaction():
        connection.execute("update invoice set state = 'void' where id = 9")
        ticket, entry = append(connection, voided)
    print(f"committed with ticket {ticket}")

    # Was it committed? After a lost connection nobody knows. The same event again is no second entry.
    with connection.transaction():
        again, _ = append(connection, voided)
    assert again == ticket, (again, ticket)
    print("the same event again has the same ticket")

    # Neither: the change that fails takes its event with it.
    class CardDeclined(Exception):
        pass

    try:
        with connection.transaction():
            connection.execute("update invoice set state = 'paid' where id = 9")
            lost, _ = append(connection, event("invoice.paid", "usr_7", ("invoice", "9")))
            raise CardDeclined
    except CardDeclined:
        pass
    state = connection.execute("select state from invoice where id = 9").fetchone()[0]
    assert state == "void", state

index, receipt = wait_for_receipt(ticket)
# What came before the entry in the log is settled; the event that was rolled back is not there, and never will be.
try:
    get(f"tickets/{lost}")
    raise AssertionError("the event that was rolled back is in the log")
except urllib.error.HTTPError as error:
    assert error.code == 404, error
print("rolled back without an event")

assert get(f"entries/{index}") == entry
assert verify(entry, receipt) == 0
assert verify(entry.replace(b"usr_7", b"usr_8"), receipt) == 1
print(f"entry {index} is verified, and refused with one byte changed")
