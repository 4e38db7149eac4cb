"""Rewrites a proof as somebody could who owns the books: the figures are wrong, every hash is right, no head is signed.

python3 forge.py FORGERY PROOF OUT, with docs/ on PYTHONPATH.
"""

import json
import sys

import verify


def first(blocks, kind):
    """The first transfer of a kind, and its block."""
    return next((row, block) for block in blocks for row in block["transfers"] if row["kind"] == kind)


def too_little_paid(blocks):
    first(blocks, "posted")[0]["amount_nanos"] = 1


def captured_above_hold(blocks):
    first(blocks, "capture")[0]["amount_nanos"] = first(blocks, "pending")[0]["amount_nanos"] + 1


def resolved_twice(blocks):
    capture, block = first(blocks, "capture")
    last = block["transfers"][-1]
    again = {"group_seq": last["group_seq"], "position": last["position"] + 1, "id": block["groups"][0]["link_id"]}
    block["transfers"].append({**capture, **again})


def debited_to_itself(blocks):
    capture = first(blocks, "capture")[0]
    capture["credit_account_id"] = capture["debit_account_id"]


def left_out_group(blocks):
    block = first(blocks, "capture")[1]
    block["groups"], block["transfers"], block["facts"] = [], [], []


forgery, proof, out = sys.argv[1:]
with open(proof) as file:
    header, *blocks = map(json.loads, file)
globals()[forgery](blocks)
before = header["prev_hash"]
for block in blocks:
    block["prev_hash"] = before
    before = block["hash"] = verify.hash_of(header["shard"], block).hex()
header["head"]["hash"] = before
del header["head"]["public_key"], header["head"]["signature"]
with open(out, "w") as file:
    file.writelines(json.dumps(line) + "\n" for line in [header, *blocks])
