"""Protocol limits: what every node must share (docs/protocol.md). No board setting changes any of them."""

from __future__ import annotations

from typing import Final

# Amounts and integers (section 1).
SUPPLY_MAX: Final = 2**53 - 1
SUM_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
TICK_TOLD_MAX: Final = 2**63 - 1
"""No tick that somebody tells is larger: what is counted on from it stays an unsigned integer."""

# Sizes of fixed fields, in bytes (sections 1 and 2).
ID_BYTES: Final = 20
KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
DIGEST_BYTES: Final = 32
NODE_BYTES: Final = 36
ID_BITS: Final = 160

# CBOR (section 2).
CBOR_DEPTH_MAX: Final = 16
FRAME_BYTES_MAX: Final = 64 * 1024

# Groups (section 3).
GROUP_MEMBERS_MAX: Final = 256
PAGE_BYTES_MAX: Final = 10_240
STATE_BYTES_MAX: Final = 4_096
JOIN_SHARED_BITS_MAX: Final = 64

# Bodies (sections 4 and 7).
SEGMENT_BYTES_MAX: Final = 16 * 1024
BODY_SEGMENTS_MAX: Final = 32
SEGMENT_SET_ITEMS_MAX: Final = 16

# Rosters: number of keys -> quorum, by heads (section 4).
QUORUM: Final = {1: 1, 3: 2, 4: 3, 7: 5}

# Committees (sections 4 and 5).
WILLING_MAX: Final = 24
HELD_SIGNATURES_MAX: Final = 16
ADDRESS_BYTES_MAX: Final = 64

# Payments, texts (section 5).
MEMO_BYTES_MAX: Final = 64
REASON_BYTES_MAX: Final = 256
NAME_BYTES_MAX: Final = 64

# Time (sections 1 and 5), in ticks.
RECEIPT_TICKS_MAX: Final = 3_600
SETTLED_TICKS_MIN: Final = 90_000
INVITE_TICKS_MAX: Final = 90 * 86_400

# The JSON form of a proof (section 2): what a verifier reads at most.
PROOF_BYTES_MAX: Final = 4 * 1024 * 1024
HANDOVERS_MAX: Final = 4_096
PATH_STEPS_MAX: Final = 2 * ID_BITS
