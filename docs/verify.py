#!/usr/bin/env python3
"""Checks a proof of a Tokengrid ledger, offline. Needs Python 3.9 or later and nothing else.

    tokengrid ledger proof --out book.jsonl
    python3 docs/verify.py book.jsonl --key PUBLIC_KEY

PUBLIC_KEY is what the operator publishes at GET /ledger/head; without --key the signature is checked against the key that the
proof itself names, which tells that the head was signed but not by whom.

What is recomputed: the hash of every block from its rows; the chain from each block to the next; the numbering of groups and
accounts; that every transfer is one balanced debit and credit of a positive amount between two accounts of one unit, so that
every linked group sums to zero; that a hold is resolved at most once, and a capture never exceeds it; the head and its
signature. Where the proof begins at block 1, also every balance, and that no account that may not be overdrawn is below zero
after any block, open holds counted. The first bad block is named.

Exit codes: 0 everything is as it was written, 1 it is not, 2 the file cannot be read.

The file is JSON, one object a line. The header: format ("tokengrid ledger proof v1"), shard, from_height, to_height,
prev_hash (of the block before the first), head {shard, height, hash, at, and where signed public_key and signature}. Then one
block a line: height, epoch, at, first_group_seq, accounts_total, open_from_seq, prev_hash, hash, accounts, groups, transfers,
facts, whose rows have the keys of ACCOUNT, GROUP, TRANSFER and FACT below, in that order. Instants are microseconds since 1970.

What is hashed with SHA-256, integers little-endian: "tokengrid block v1\\n"; shard i16; the block's keys of BLOCK; then each of
the four lists as its count in u32 and its rows. A text is its length in bytes as u32 and its UTF-8, a UUID its 16 bytes, an
instant an i64; what may be absent is one byte, 0, or 1 followed by the value.

What is signed with Ed25519: "tokengrid head v1\\n", shard i16, height i64, the hash, the instant i64.
"""

import argparse
import hashlib
import json
import struct
import sys
import uuid
from datetime import datetime, timedelta

FORMAT = "tokengrid ledger proof v1"


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


i16, i64, u32 = integer("<h"), integer("<q"), integer("<I")

BLOCK = {
    "height": i64, "epoch": i64, "at": i64, "first_group_seq": i64, "accounts_total": i64, "open_from_seq": i64,
    "prev_hash": digest,
}
ACCOUNT = {
    "id": i64, "code": i16, "normal_side": text, "no_overdraft": boolean, "unit": text, "owner_id": optional(identifier),
    "lot_id": optional(identifier), "expires_at": optional(i64),
}
GROUP = {
    "seq": i64, "link_id": identifier, "recipe": text, "body_hash": digest, "event_at": i64, "expires_at": optional(i64),
    "reference": optional(text),
}
TRANSFER = {
    "group_seq": i64, "position": i16, "id": identifier, "kind": text, "debit_account_id": i64, "credit_account_id": i64,
    "amount_nanos": i64, "pending_id": optional(identifier), "bucket": optional(text), "tenant_id": optional(identifier),
    "model": optional(text), "node_id": optional(identifier), "provider_id": optional(identifier),
    "product_line": optional(text),
}
FACT = {
    "group_seq": i64, "job_id": identifier, "segment": i16, "meter": text, "tenant_id": identifier, "model": text,
    "node_id": identifier, "provider_id": identifier, "quantity": i64, "price_id": identifier, "amount_nanos": i64,
    "event_at": i64,
}
LISTS = {"accounts": ACCOUNT, "groups": GROUP, "transfers": TRANSFER, "facts": FACT}
BLOCK_KEYS = BLOCK.keys() | LISTS.keys() | {"hash"}
HEADER_KEYS = {"format", "shard", "from_height", "to_height", "prev_hash", "head"}
HEAD_KEYS = {"shard", "height", "hash", "at"}
SIGNED_HEAD_KEYS = HEAD_KEYS | {"public_key", "signature"}


def hash_of(shard, block):
    """The hash of everything in a block; anything in it that no hash covers is refused."""
    if block.keys() != BLOCK_KEYS:
        raise ValueError("its keys are not a block's")
    out = hashlib.sha256(b"tokengrid block v1\n" + i16(shard))
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
        self.unit, self.debit_side, self.no_overdraft = row["unit"], row["normal_side"] == "debit", row["no_overdraft"]
        self.debits = self.credits = self.debits_pending = self.credits_pending = 0

    def available(self):
        """What is posted less what is held, on the side that makes it grow."""
        if self.debit_side:
            return self.debits - self.credits - self.credits_pending
        return self.credits - self.debits - self.debits_pending


class Books:
    """What the blocks so far add up to. A book that does not begin at block 1 has accounts and holds that it never met."""

    def __init__(self, header):
        self.shard, self.whole = header["shard"], header["from_height"] == 1
        self.height, self.hash, self.at = header["from_height"] - 1, digest(header["prev_hash"]), None
        self.next_seq = self.accounts_total = None
        if self.whole:
            check(self.hash == bytes(32), "the first block follows nothing, so prev_hash must be zeros")
            self.next_seq, self.accounts_total = 1, 0
        self.accounts, self.holds, self.resolved_unseen = {}, {}, set()
        self.transfers = self.facts = 0

    def add(self, block):
        """Takes the next block, or says what is wrong with it."""
        check(block["height"] == self.height + 1, "a block is missing")
        check(digest(block["prev_hash"]) == self.hash, "it does not follow the block before")
        block_hash = hash_of(self.shard, block)
        check(block_hash == digest(block["hash"]), "its rows do not give its hash")
        self._number(block)
        for row in block["accounts"]:
            self._open(row)
        touched = self._transfer(block)
        if self.whole:
            for account in touched:
                account = self.accounts[account]
                check(not account.no_overdraft or account.available() >= 0, "it takes an account below zero")
        self.height, self.hash, self.at = block["height"], block_hash, block["at"]
        self.transfers += len(block["transfers"])
        self.facts += len(block["facts"])

    def _number(self, block):
        first, groups = block["first_group_seq"], block["groups"]
        numbered = self.next_seq in (None, first) and groups
        numbered = numbered and all(group["seq"] == first + index for index, group in enumerate(groups))
        check(numbered, "its groups are not numbered without gaps")
        before = block["accounts_total"] - len(block["accounts"])
        check(self.accounts_total in (None, before), "its accounts are miscounted")
        self.next_seq, self.accounts_total = first + len(groups), block["accounts_total"]
        seqs = range(first, self.next_seq)
        facts_belong = all(fact["group_seq"] in seqs for fact in block["facts"])
        check(facts_belong, "a usage fact belongs to none of its groups")

    def _open(self, row):
        named = row["id"] // 10**14 == row["code"] and row["id"] // 10**10 % 10**4 == self.shard
        check(named and row["normal_side"] in ("debit", "credit"), "an account is not what its number says")
        check(row["id"] not in self.accounts, "an account is opened twice")
        self.accounts[row["id"]] = Account(row)

    def _transfer(self, block):
        """Moves the balances of a block's transfers, and tells whose."""
        touched, seqs = set(), range(block["first_group_seq"], self.next_seq)
        # The database takes all holds of a block before it resolves any.
        for row in block["transfers"]:
            if row["kind"] == "pending":
                check(row["id"] not in self.holds, "a hold is placed twice")
                self.holds[row["id"]] = (row["debit_account_id"], row["credit_account_id"], row["amount_nanos"])
        last = (0, -1)
        for row in block["transfers"]:
            place = (row["group_seq"], row["position"])
            follows = place[1] == (last[1] + 1 if place[0] == last[0] else 0)
            check(follows and place > last and place[0] in seqs, "a transfer belongs to none of its groups")
            last = place
            touched |= self._move(row)
        return touched

    def _move(self, row):
        kind, amount = row["kind"], row["amount_nanos"]
        debit, credit = row["debit_account_id"], row["credit_account_id"]
        check(amount > 0 and debit != credit, "a transfer is not one debit and one equal credit")
        check(kind in ("posted", "pending", "capture", "void"), "a transfer is of no known kind")
        resolves = kind in ("capture", "void")
        check((row["pending_id"] is not None) == resolves, "a transfer does not say which hold it resolves")
        held = self._resolve(row) if resolves else amount if kind == "pending" else 0
        if not self.whole:
            return set()
        check(debit in self.accounts and credit in self.accounts, "a transfer is between unknown accounts")
        debit_account, credit_account = self.accounts[debit], self.accounts[credit]
        check(debit_account.unit == credit_account.unit, "a transfer is between two units")
        posted, pending = amount if kind in ("posted", "capture") else 0, -held if resolves else held
        debit_account.debits += posted
        debit_account.debits_pending += pending
        credit_account.credits += posted
        credit_account.credits_pending += pending
        return {debit, credit}

    def _resolve(self, row):
        """Closes the hold that a capture or a void resolves, and tells its amount."""
        hold = self.holds.pop(row["pending_id"], None)
        if hold is None:
            unseen = not self.whole and row["pending_id"] not in self.resolved_unseen
            check(unseen, "it resolves a hold that is not open")
            self.resolved_unseen.add(row["pending_id"])
            return 0
        same = hold[:2] == (row["debit_account_id"], row["credit_account_id"])
        within = row["amount_nanos"] <= hold[2] if row["kind"] == "capture" else row["amount_nanos"] == hold[2]
        check(same and within, "it does not fit the hold that it resolves")
        return hold[2]


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
