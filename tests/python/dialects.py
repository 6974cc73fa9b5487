"""Both dialects for pyiso8583, written from docs/posp.md section 2 by hand: not from the Rust tables, so that a slip in
one of them shows."""

from iso8583.specs import default_ascii

LL, LLL = 1, 2  # bytes of a packed length


def _field(kind, len_type, max_len):
    spec = {"data_enc": "b", "len_enc": "bcd", "len_type": len_type, "max_len": max_len, "desc": ""}
    if kind == "left":
        spec.update(len_count="nibbles", left_pad="0")
    elif kind in ("n", "z"):
        spec.update(len_count="nibbles", right_pad="0")
    elif kind == "text":
        spec["data_enc"] = "latin-1"
    elif kind != "b":
        raise ValueError(kind)
    return spec


def _dialect(pin_block, organisation):
    fields = {
        2: ("n", LL, 19), 3: ("n", 0, 6), 4: ("n", 0, 12), 11: ("n", 0, 6), 12: ("n", 0, 6), 13: ("n", 0, 4),
        14: ("n", 0, 4), 15: ("n", 0, 4), 22: ("n", 0, 3), 23: ("left", 0, 3), 25: ("n", 0, 2), 26: ("n", 0, 2),
        32: ("n", LL, 11), 33: ("n", LL, 11), 35: ("z", LL, 37), 36: ("z", LLL, 104), 37: ("text", 0, 12),
        38: ("text", 0, 6), 39: ("text", 0, 2), 41: ("text", 0, 8), 42: ("text", 0, 15), 43: ("text", 0, 40),
        44: ("text", LL, 25), 46: ("b", LLL, 999), 48: ("n", LLL, 322), 49: ("text", 0, 3), 52: ("b", 0, pin_block),
        53: ("n", 0, 16), 54: ("text", LLL, 20), 55: ("b", LLL, 255), 56: ("b", LLL, 999), 57: ("b", LLL, 999),
        58: ("b", LLL, 999), 59: ("b", LLL, 999), 60: ("n", LLL, 17), 61: ("n", LLL, 29), 62: ("b", LLL, 512),
        63: (organisation, LLL, 163), 64: ("b", 0, 8),
    }
    spec = {str(no): _field(*form) for no, form in fields.items()}
    spec["h"] = {"data_enc": "b", "len_enc": "bcd", "len_type": 0, "max_len": 0, "desc": ""}
    spec["t"] = {"data_enc": "b", "len_enc": "bcd", "len_type": 0, "max_len": 2, "desc": ""}
    for bitmap in ("p", "1"):
        spec[bitmap] = {"data_enc": "b", "len_enc": "bcd", "len_type": 0, "max_len": 8, "desc": ""}
    return spec


DIALECTS = {
    "aes": _dialect(16, "text"),
    "unionpay": _dialect(8, "b"),
    # pyiso8583's own table of the ASCII form of ISO 8583:1987.
    "ascii1987": default_ascii,
}
