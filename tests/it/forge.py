"""Rewrites a proof as somebody could who owns the books: the figures are wrong, every hash is right, no head is signed.

python3 forge.py FORGERY PROOF OUT, with docs/ on PYTHONPATH.
"""

import json
import sys

import verify


def first(blocks, kind):
    """The first transfer of a kind, and its block."""
    return next((row, block) for block in blocks for row in block["transfers"] if row["kind"] == kind)


def append(block, row):
    """Adds a transfer, or a note where the row moves nothing, to the end of a block; gives its number."""
    nothing = dict.fromkeys(verify.TRANSFER)
    nothing.update(debit_account_id=0, credit_account_id=0, amount=0, debit_prev_seq=0, credit_prev_seq=0, kind=verify.NOTE)
    seq = block["transfers"][-1]["seq"] + 1
    block["transfers"].append({**nothing, **row, "seq": seq})
    return seq


def event(number):
    """What the first transfer of a group says of it."""
    return {"link_id": f"00000000-0000-7000-8000-{number:012}", "recipe": 1, "body": 0, "period": 2610}


def too_little_paid(blocks):
    first(blocks, verify.POSTED)[0]["amount"] = 1


def captured_above_hold(blocks):
    first(blocks, verify.CAPTURE)[0]["amount"] = first(blocks, verify.PENDING)[0]["amount"] + 1


def resolved_twice(blocks):
    capture, block = first(blocks, verify.CAPTURE)
    append(block, {**capture, **dict.fromkeys(verify.HEAD + verify.HEAD_MAYBE)})


def debited_to_itself(blocks):
    capture = first(blocks, verify.CAPTURE)[0]
    capture["credit_account_id"] = capture["debit_account_id"]


def credited_in_another_unit(blocks):
    first(blocks, verify.CAPTURE)[0]["credit_account_id"] += 10**11


def credited_to_nobody(blocks):
    first(blocks, verify.PENDING)[0]["credit_account_id"] += 10**6


def left_out_group(blocks):
    block = first(blocks, verify.CAPTURE)[1]
    block["transfers"], block["usage"] = [], []


def revenue_of_nothing(blocks):
    first(blocks, verify.CAPTURE)[0]["leaf_id"] = None


def revenue_of_an_unknown_leaf(blocks):
    first(blocks, verify.CAPTURE)[0]["leaf_id"] = 10**6


def another_history(blocks):
    first(blocks, verify.CAPTURE)[0]["debit_prev_seq"] -= 1


def miscounted_leaves(blocks):
    first(blocks, verify.CAPTURE)[1]["leaves_total"] += 1


def forgotten_hold(blocks):
    block = first(blocks, verify.PENDING)[1]
    block["open_from_seq"] = block["transfers"][-1]["seq"] + 1


def happened_twice(blocks):
    top_up = first(blocks, verify.POSTED)[0]
    append(blocks[-1], {**event(1), "link_id": top_up["link_id"], "recipe": top_up["recipe"]})


def booked_in_a_closed_month(blocks):
    seq = append(blocks[-1], event(1))
    blocks[-1]["periods"].append({"seq": seq, "period": 2610, "state": "hard"})
    append(blocks[-1], event(2))


def set_state(blocks, state, floor):
    seq, account = append(blocks[-1], event(1)), first(blocks, verify.CAPTURE)[0]["debit_account_id"]
    blocks[-1]["states"].append({"seq": seq, "account_id": account, "state": state, "floor": floor})


def closed_with_money(blocks):
    set_state(blocks, "closed", None)


def frozen_at_nothing(blocks):
    set_state(blocks, "frozen", 0)


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
