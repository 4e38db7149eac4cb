#!/usr/bin/env python3
"""Checks a proof of a Tokengrid ledger, offline. Needs Python 3.9 or later and nothing else.

    tokengrid ledger proof --out book.jsonl
    python3 docs/verify.py book.jsonl --key PUBLIC_KEY

PUBLIC_KEY is what the operator publishes at GET /ledger/head; without --key the signature is checked against the key that the
proof itself names, which tells that the head was signed but not by whom.

What is recomputed: the hash of every block from its rows; the chain from each block to the next; the numbering of transfers,
accounts and leaves without gaps; that every transfer is one balanced debit and credit of a positive amount between two accounts
of one unit and shard, so that every linked group sums to zero; that an event happens once; that a hold is resolved at most once,
and a capture never exceeds it; that each transfer names the one before it over either account; that revenue has a leaf, and so its
class and dimensions; that nothing is booked in a month that was closed for good, nor over an account that was closed; the head
and its signature. Where the proof begins at block 1, also every balance: that no account that may not be overdrawn is below zero
after any block, open holds counted, that a frozen account keeps what it had, and that a closed one is empty. The first bad block
is named.

Exit codes: 0 everything is as it was written, 1 it is not, 2 the file cannot be read.

The file is JSON, one object a line. The header: format ("tokengrid ledger proof v2"), shard, from_height, to_height,
prev_hash (of the block before the first), head {shard, height, hash, at, and where signed public_key and signature}. Then one
block a line: the keys of BLOCK below, hash, and the lists of LISTS, whose rows have the keys of ACCOUNT, LEAF, TRANSFER, USAGE,
CAPACITY, STATE and PERIOD, in that order. Instants are microseconds since 1970, months are year * 100 + month of the century.

What is hashed with SHA-256, integers little-endian: "tokengrid block v2\\n"; shard i16; the block's keys of BLOCK; then each of
the seven lists as its count in u32 and its rows. A text is its length in bytes as u32 and its UTF-8, a UUID its 16 bytes, an
instant an i64; what may be absent is one byte, 0, or 1 followed by the value.

What is signed with Ed25519: "tokengrid head v1\\n", shard i16, height i64, the hash, the instant i64.
"""

import argparse
import hashlib
import heapq
import json
import struct
import sys
import uuid
from datetime import datetime, timedelta

FORMAT = "tokengrid ledger proof v2"


# The canonical form of a block.

def integer(layout):
    pack = struct.Struct(layout).pack

    def write(value):
        if type(value) is not int:
            raise TypeError("not an integer")
        return pack(value)
    return write


def text(value):
    value = value.encode()
    return u32(len(value)) + value


def boolean(value):
    if type(value) is not bool:
        raise TypeError("not true or false")
    return bytes([value])


def identifier(value):
    number = uuid.UUID(value)
    if str(number) != value:
        raise ValueError("not how an identifier is spelled")
    return number.bytes


def hexadecimal(value):
    data = bytes.fromhex(value)
    if data.hex() != value:
        raise ValueError("not lower-case hexadecimal")
    return data


def digest(value):
    data = hexadecimal(value)
    if len(data) != 32:
        raise ValueError("not 32 bytes")
    return data


def optional(write):
    return lambda value: b"\0" if value is None else b"\1" + write(value)


i16, i32, i64, u32 = integer("<h"), integer("<i"), integer("<q"), integer("<I")

BLOCK = {
    "height": i64, "epoch": i64, "at": i64, "first_seq": i64, "accounts_total": i64, "leaves_total": i32, "open_from_seq": i64,
    "prev_hash": digest,
}
ACCOUNT = {
    "id": i64, "code": i16, "normal_side": text, "no_overdraft": boolean, "unit": text, "owner_id": optional(identifier),
    "lot_id": optional(identifier), "priority": i16, "expires_at": optional(i64),
}
LEAF = {
    "id": i32, "bucket": text, "tenant_id": optional(identifier), "model": optional(text), "node_id": optional(identifier),
    "provider_id": optional(identifier), "product_line": text, "meter": optional(text), "waste": optional(text),
    "price_id": optional(identifier), "of_period": optional(i16),
}
# The first transfer of a linked group has what is in HEAD too: it alone says which event the group is.
TRANSFER = {
    "seq": i64, "debit_account_id": i64, "credit_account_id": i64, "amount": i64, "debit_prev_seq": i64, "credit_prev_seq": i64,
    "leaf_id": optional(i32), "kind": i16, "recipe": optional(i16), "period": optional(i16), "pending_seq": optional(i64),
    "event_at": optional(i64), "expires_at": optional(i64), "reverses_seq": optional(i64), "link_id": optional(identifier),
    "body": optional(i64), "reference": optional(text),
}
USAGE = {
    "seq": i64, "quantity": i64, "amount": i64, "leaf_id": i32, "compute_ms": i32, "line": i16, "segment": i16,
}
CAPACITY = {
    "seq": i64, "leaf_id": i32, "line": i16, "share_ppm": i32, "rcu_milli": i32, "from_at": i64, "to_at": i64,
}
STATE = {"seq": i64, "account_id": i64, "state": text, "floor": optional(i64)}
PERIOD = {"seq": i64, "period": i16, "state": text}
LISTS = {
    "accounts": ACCOUNT, "leaves": LEAF, "transfers": TRANSFER, "usage": USAGE, "capacity": CAPACITY, "states": STATE,
    "periods": PERIOD,
}
HEAD = ("link_id", "recipe", "body", "period")
HEAD_MAYBE = ("event_at", "expires_at", "reverses_seq", "reference")
POSTED, PENDING, CAPTURE, VOID, NOTE = 1, 2, 3, 4, 5
BLOCK_KEYS = BLOCK.keys() | LISTS.keys() | {"hash"}
HEADER_KEYS = {"format", "shard", "from_height", "to_height", "prev_hash", "head"}
HEAD_KEYS = {"shard", "height", "hash", "at"}
SIGNED_HEAD_KEYS = HEAD_KEYS | {"public_key", "signature"}


def hash_of(shard, block):
    """The hash of everything in a block; anything in it that no hash covers is refused."""
    if block.keys() != BLOCK_KEYS:
        raise ValueError("its keys are not a block's")
    out = hashlib.sha256(b"tokengrid block v2\n" + i16(shard))
    out.update(b"".join(write(block[key]) for key, write in BLOCK.items()))
    for name, form in LISTS.items():
        rows = block[name]
        out.update(u32(len(rows)))
        for row in rows:
            if row.keys() != form.keys():
                raise ValueError("its rows have other keys than they should")
            out.update(b"".join(write(row[key]) for key, write in form.items()))
    return out.digest()


# The books.

class Bad(Exception):
    """Something is not as it was written; says what."""


def check(holds, reason):
    if not holds:
        raise Bad(reason)


class Account:
    """An account and what was moved over it."""

    def __init__(self, row):
        self.debit_side, self.no_overdraft, self.floor = row["normal_side"] == "debit", row["no_overdraft"], None
        self.debits = self.credits = self.debits_pending = self.credits_pending = 0

    def available(self):
        """What is posted less what is held, on the side that makes it grow."""
        if self.debit_side:
            return self.debits - self.credits - self.credits_pending
        return self.credits - self.debits - self.debits_pending

    def sound(self):
        """Not below its floor, nor below zero where that is forbidden."""
        if self.floor is not None:
            return self.available() >= self.floor
        return not self.no_overdraft or self.available() >= 0

    def empty(self):
        return self.debits == self.credits and self.debits_pending == self.credits_pending == 0


# An account's id is code * 10^14 + unit number * 10^11 + shard * 10^9 + the account's number in its shard.

def revenue(account_id):
    return 4000 <= account_id // 10**14 <= 4999


def unit_and_shard(account_id):
    return account_id // 10**9 % 10**5


class Books:
    """What the blocks so far add up to. A book that does not begin at block 1 has accounts and holds that it never met."""

    def __init__(self, header):
        self.shard, self.whole = header["shard"], header["from_height"] == 1
        self.height, self.hash, self.at = header["from_height"] - 1, digest(header["prev_hash"]), None
        self.next_seq = self.accounts_total = self.leaves_total = None
        if self.whole:
            check(self.hash == bytes(32), "the first block follows nothing, so prev_hash must be zeros")
            self.next_seq, self.accounts_total, self.leaves_total = self.shard * 10**15 + 1, 0, 0
        self.accounts, self.units, self.last_seqs, self.closed = {}, {}, {}, set()
        self.holds, self.open_seqs, self.resolved_unseen = {}, [], set()
        self.events, self.reversed, self.periods = set(), set(), {}
        self.transfers = self.facts = 0

    def add(self, block):
        """Takes the next block, or says what is wrong with it."""
        check(block["height"] == self.height + 1, "a block is missing")
        check(digest(block["prev_hash"]) == self.hash, "it does not follow the block before")
        block_hash = hash_of(self.shard, block)
        check(block_hash == digest(block["hash"]), "its rows do not give its hash")
        check(self.at is None or block["at"] >= self.at, "it is older than the block before")
        self._number(block)
        for row in block["accounts"]:
            self._open(row)
        touched = self._groups(block)
        if self.whole:
            check(all(self.accounts[account].sound() for account in touched), "it takes an account below zero, or its floor")
            self._check_open_from(block)
        self.height, self.hash, self.at = block["height"], block_hash, block["at"]
        self.transfers += len(block["transfers"])
        self.facts += len(block["usage"])

    def _number(self, block):
        first, transfers = block["first_seq"], block["transfers"]
        numbered = self.next_seq in (None, first) and first // 10**15 == self.shard and transfers
        numbered = numbered and all(row["seq"] == first + index for index, row in enumerate(transfers))
        check(numbered, "its transfers are not numbered without gaps")
        self.next_seq = first + len(transfers)
        numbers = sorted(row["id"] % 10**9 for row in block["accounts"])
        before = block["accounts_total"] - len(numbers)
        counted = self.accounts_total in (None, before) and numbers == list(range(before + 1, before + 1 + len(numbers)))
        check(counted, "its accounts are not numbered without gaps")
        leaves = [row["id"] for row in block["leaves"]]
        before = block["leaves_total"] - len(leaves)
        counted = self.leaves_total in (None, before) and leaves == list(range(before + 1, before + 1 + len(leaves)))
        check(counted, "its leaves are not numbered without gaps")
        self.accounts_total, self.leaves_total = block["accounts_total"], block["leaves_total"]

    def _open(self, row):
        number = row["id"]
        named = number // 10**14 == row["code"] and number // 10**9 % 100 == self.shard
        named = named and self.units.setdefault(number // 10**11 % 1000, row["unit"]) == row["unit"]
        check(named and row["normal_side"] in ("debit", "credit"), "an account is not what its number says")
        self.accounts[number], self.last_seqs[number] = Account(row), 0

    def _groups(self, block):
        """Moves the balances of a block's transfers, sets its states, and tells whose."""
        touched, heads, rows = set(), set(), block["transfers"]
        states, periods = by_head(block["states"], "account_id"), by_head(block["periods"], "period")
        head = None
        for index, row in enumerate(rows):
            self._check_head(row, head)
            if row["link_id"] is not None:
                head = row
                heads.add(row["seq"])
            if row["kind"] == NOTE:
                self._check_note(row)
            else:
                touched |= self._move(row)
            if index + 1 == len(rows) or rows[index + 1]["link_id"] is not None:
                # The group is over.
                for state in states.pop(head["seq"], ()):
                    touched |= self._set_state(state)
                for period in periods.pop(head["seq"], ()):
                    self._set_period(period)
        check(not states and not periods, "a state belongs to none of its groups")
        for facts in (block["usage"], block["capacity"]):
            for seq, lines in by_head(facts, "line").items():
                belong = seq in heads and [fact["line"] for fact in lines] == list(range(len(lines)))
                check(belong, "a fact belongs to none of its groups")
                check(all(self._leaf(fact["leaf_id"]) for fact in lines), "a fact has no leaf")
        return touched

    def _leaf(self, leaf_id):
        return leaf_id is not None and 1 <= leaf_id <= self.leaves_total

    def _check_head(self, row, head):
        """Checks that a group begins where it should, happens once, and in a month that is not closed."""
        if row["link_id"] is None:
            check(head is not None and head["kind"] != NOTE, "a transfer belongs to none of its groups")
            check(all(row[key] is None for key in HEAD + HEAD_MAYBE), "a transfer says what only a group's first one may")
            return
        check(all(row[key] is not None for key in HEAD), "a group does not say what it is")
        event, period, reverses = (row["link_id"], row["recipe"]), row["period"], row["reverses_seq"]
        check(event not in self.events, "an event happens twice")
        self.events.add(event)
        check(0 <= period <= 9912 and 1 <= period % 100 <= 12, "a group is booked in no month")
        check(self.periods.get(period) != "hard", "it books in a month that was closed for good")
        if reverses is not None:
            check(reverses < row["seq"] and reverses not in self.reversed, "it takes back what it cannot")
            self.reversed.add(reverses)

    def _check_note(self, row):
        keys = ("debit_account_id", "credit_account_id", "amount", "debit_prev_seq", "credit_prev_seq")
        empty = all(row[key] == 0 for key in keys) and row["leaf_id"] is None and row["pending_seq"] is None
        check(empty and row["link_id"] is not None, "a note moves something, or heads no group")

    def _move(self, row):
        kind, amount, seq = row["kind"], row["amount"], row["seq"]
        debit, credit = row["debit_account_id"], row["credit_account_id"]
        check(amount > 0 and debit != credit, "a transfer is not one debit and one equal credit")
        check(kind in (POSTED, PENDING, CAPTURE, VOID), "a transfer is of no known kind")
        one = unit_and_shard(debit) == unit_and_shard(credit) and debit // 10**9 % 100 == self.shard
        check(one, "a transfer is between two units or shards")
        resolves = kind in (CAPTURE, VOID)
        check((row["pending_seq"] is not None) == resolves, "a transfer does not say which hold it resolves")
        if kind in (POSTED, CAPTURE) and (revenue(debit) or revenue(credit)):
            check(row["leaf_id"] is not None, "revenue has no leaf")
        check(row["leaf_id"] is None or self._leaf(row["leaf_id"]), "a transfer's leaf does not exist")
        check(debit not in self.closed and credit not in self.closed, "it moves a closed account")
        held = self._resolve(row) if resolves else amount if kind == PENDING else 0
        if kind == PENDING:
            self.holds[seq] = (debit, credit, amount)
            heapq.heappush(self.open_seqs, seq)
        for account, before in ((debit, row["debit_prev_seq"]), (credit, row["credit_prev_seq"])):
            check(not self.whole or account in self.accounts, "a transfer is between unknown accounts")
            check(self.last_seqs.get(account, before) == before < seq, "a transfer does not follow its account's history")
            self.last_seqs[account] = seq
        if not self.whole:
            return set()
        debit_account, credit_account = self.accounts[debit], self.accounts[credit]
        posted, pending = amount if kind in (POSTED, CAPTURE) else 0, -held if resolves else held
        debit_account.debits += posted
        debit_account.debits_pending += pending
        credit_account.credits += posted
        credit_account.credits_pending += pending
        return {debit, credit}

    def _resolve(self, row):
        """Closes the hold that a capture or a void resolves, and tells its amount."""
        hold = self.holds.pop(row["pending_seq"], None)
        if hold is None:
            unseen = not self.whole and row["pending_seq"] not in self.resolved_unseen
            check(unseen, "it resolves a hold that is not open")
            self.resolved_unseen.add(row["pending_seq"])
            return 0
        same = hold[:2] == (row["debit_account_id"], row["credit_account_id"])
        within = row["amount"] <= hold[2] if row["kind"] == CAPTURE else row["amount"] == hold[2]
        check(same and within, "it does not fit the hold that it resolves")
        return hold[2]

    def _check_open_from(self, block):
        while self.open_seqs and self.open_seqs[0] not in self.holds:
            heapq.heappop(self.open_seqs)
        oldest = self.open_seqs[0] if self.open_seqs else self.next_seq
        check(block["open_from_seq"] <= oldest, "it forgets an open hold")

    def _set_state(self, row):
        """Freezes, opens or closes an account, and tells which."""
        number, state, floor = row["account_id"], row["state"], row["floor"]
        known = state in ("open", "frozen", "closed") and (floor is not None) == (state == "frozen")
        check(known, "a state is of no known kind")
        check(number not in self.closed, "an account is set that was closed for good")
        if state == "closed":
            self.closed.add(number)
        if not self.whole:
            return set()
        check(number in self.accounts, "it sets the state of an unknown account")
        account = self.accounts[number]
        account.floor = floor
        check(state != "closed" or account.empty(), "it closes an account that is not empty")
        check(state != "frozen" or floor == max(account.available(), 0), "a frozen account's floor is not what it had")
        return {number}

    def _set_period(self, row):
        period, state = row["period"], row["state"]
        check(state in ("open", "soft", "hard"), "a month's state is of no known kind")
        check(self.periods.get(period) != "hard", "a month is set that was closed for good")
        self.periods[period] = state


def by_head(rows, second):
    """Rows by the first transfer of their group; they are in the order of it and of a second key, without repetitions."""
    keys = [(row["seq"], row[second]) for row in rows]
    check(all(before < after for before, after in zip(keys, keys[1:])), "its rows are not in order")
    groups = {}
    for row in rows:
        groups.setdefault(row["seq"], []).append(row)
    return groups


# Ed25519 (RFC 8032): points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_multiply(scalar, point):
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = point_add(result, point)
        point = point_add(point, point)
        scalar >>= 1
    return result


def point_from(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def point_decode(data):
    number = int.from_bytes(data, "little")
    return point_from(number & (1 << 255) - 1, number >> 255)


BASE = point_from(4 * pow(5, P - 2, P) % P, 0)


def signature_holds(public_key, message, signature):
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key, commitment = point_decode(public_key), point_decode(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= ORDER:
        return False
    challenge = hashlib.sha512(signature[:32] + public_key + message).digest()
    challenge = int.from_bytes(challenge, "little") % ORDER
    left, right = point_multiply(scalar, BASE), point_add(commitment, point_multiply(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# The file.

def microseconds(instant):
    form = "%Y-%m-%dT%H:%M:%S.%fZ"
    parsed = datetime.strptime(instant, form)
    if parsed.strftime(form) != instant:
        raise ValueError("not how an instant is spelled")
    return (parsed - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def check_head(head, books, wanted_key):
    """Checks that the head is the last block and, where it is signed, by whom; tells the signer's key."""
    signed = head.keys() == SIGNED_HEAD_KEYS
    check(signed or head.keys() == HEAD_KEYS, "the head is damaged: its keys are not a head's")
    told = (head["shard"], head["height"], digest(head["hash"]), microseconds(head["at"]))
    check(told == (books.shard, books.height, books.hash, books.at), "the head is not the last block")
    if not signed:
        check(wanted_key is None, "the head is not signed")
        return None
    message = b"tokengrid head v1\n" + i16(told[0]) + i64(told[1]) + told[2] + i64(told[3])
    public_key, signature = hexadecimal(head["public_key"]), hexadecimal(head["signature"])
    check(wanted_key in (None, public_key), "the head is signed with another key")
    check(signature_holds(public_key, message, signature), "the head's signature is wrong")
    return public_key.hex()


# What a damaged line may raise while it is taken apart.
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, struct.error)


def verify(lines, wanted_key):
    """Checks a whole proof; tells a summary, or raises Bad with the first thing that is wrong."""
    try:
        header = json.loads(next(lines, b""))
        check(header.keys() == HEADER_KEYS and header["format"] == FORMAT, "the header is not a proof's")
        first, last = header["from_height"], header["to_height"]
        check(1 <= first <= last, "the header names no blocks")
        books = Books(header)
    except DAMAGE as error:
        raise Bad(f"the header is damaged: {error}") from None
    for line in lines:
        try:
            check(books.height < last, "it comes after the last block")
            books.add(json.loads(line))
        except Bad as bad:
            raise Bad(f"BAD BLOCK {books.height + 1}: {bad}") from None
        except DAMAGE as error:
            raise Bad(f"BAD BLOCK {books.height + 1}: it is damaged: {error}") from None
    check(books.height == last, f"BAD BLOCK {books.height + 1}: a block is missing")
    try:
        key = check_head(header["head"], books, wanted_key)
    except DAMAGE as error:
        raise Bad(f"the head is damaged: {error}") from None
    return summary(header, books, key)


def summary(header, books, key):
    blocks = books.height - header["from_height"] + 1
    balances = f"balances of {len(books.accounts)} accounts" if books.whole else "no balances, which need block 1"
    return "\n".join([
        f"{blocks} blocks, {books.transfers} transfers, {books.facts} usage facts recomputed; {balances}",
        f"shard {books.shard}: head {books.height} {books.hash.hex()}",
        f"signed with {key}" if key else "not signed",
        "everything is as it was written",
    ])


def public_key(value):
    key = bytes.fromhex(value)
    if len(key) != 32:
        raise ValueError
    return key


def main():
    parser = argparse.ArgumentParser(description="Checks a proof of a Tokengrid ledger, offline.")
    parser.add_argument("file", help="what `tokengrid ledger proof --out FILE` wrote")
    parser.add_argument("--key", type=public_key, metavar="HEX", help="the public key that must have signed the head")
    options = parser.parse_args()
    try:
        with open(options.file, "rb") as file:
            print(verify(file, options.key))
    except Bad as bad:
        print(bad)
        return 1
    except OSError as error:
        print(f"{options.file} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
