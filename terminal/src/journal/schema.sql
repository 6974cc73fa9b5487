-- Version 1 of the terminal's journal.

-- What happened, in order, never changed: each entry's chain is the SHA-256 of the previous one's chain and of the entry.
CREATE TABLE entry (
    seq     INTEGER PRIMARY KEY,                        -- 1, 2, 3 … without a gap
    wall_ms INTEGER NOT NULL,                           -- when it was written, ms since 1970 UTC
    body    BLOB    NOT NULL,                           -- flow::record::JournalEntry
    chain   BLOB    NOT NULL CHECK (length(chain) = 32)
) STRICT;

CREATE TRIGGER entry_never_changes BEFORE UPDATE ON entry BEGIN
    SELECT RAISE(ABORT, 'entries are never changed');
END;
CREATE TRIGGER entry_never_goes BEFORE DELETE ON entry BEGIN
    SELECT RAISE(ABORT, 'entries are never deleted');
END;

-- What the entries amount to, one row a payment, for recovery and search; `doctor` compares it with the entries.
CREATE TABLE payment (
    id          INTEGER PRIMARY KEY,                    -- the entry of its intent
    state       INTEGER NOT NULL,                       -- journal/payment.rs, `State`
    issuer      BLOB    NOT NULL,                       -- 8 bytes
    card        BLOB    NOT NULL,                       -- application serial number, 10 bytes
    amount      INTEGER NOT NULL,                       -- minor units
    currency    INTEGER NOT NULL,                       -- ISO 4217 numeric
    terminal    BLOB    NOT NULL,                       -- the SAM's terminal number, 6 bytes
    term_seq    INTEGER NOT NULL,
    local_date  TEXT    NOT NULL,                       -- YYYY-MM-DD, as the card has it
    local_time  TEXT    NOT NULL,                       -- HH:MM:SS
    tac         TEXT,                                   -- hexadecimal, once the card gave it
    resolution  INTEGER,                                -- the entry that resolved it
    resolved_ms INTEGER                                 -- when, ms since 1970 UTC
) STRICT;

-- A card has at most one open debit: nothing new begins before it is resolved.
CREATE UNIQUE INDEX payment_open ON payment (card, issuer) WHERE state = 1;
-- Cards whose last proof was wrong are refused for a while.
CREATE INDEX payment_refused ON payment (card, issuer, resolved_ms) WHERE state = 5;
CREATE INDEX payment_by_day ON payment (local_date, id);
