-- Schema 2: limits of online payments. `limits` is small and read once, when the store opens. `usages` has one row for each account or
-- terminal whose day is limited, and `shares` one for each such merchant, changed in place: neither grows with payments.
-- `scope` and `of`: a letter (K kind, P payer, T terminal, M merchant) and what it names.

CREATE TABLE limits (
    scope BLOB NOT NULL PRIMARY KEY,
    payment_max INTEGER,
    day_sum_max INTEGER,
    day_count_max INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE usages (
    of BLOB NOT NULL PRIMARY KEY,
    day BLOB NOT NULL,
    since INTEGER NOT NULL,
    used_minor INTEGER NOT NULL,
    used_count INTEGER NOT NULL,
    left_minor INTEGER NOT NULL,
    left_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- terminals: 8 bytes each.
CREATE TABLE shares (
    merchant TEXT NOT NULL PRIMARY KEY,
    day BLOB NOT NULL,
    since INTEGER NOT NULL,
    granted_minor INTEGER NOT NULL,
    granted_count INTEGER NOT NULL,
    terminals BLOB NOT NULL
) STRICT, WITHOUT ROWID;
