-- Version 2: loads, and what the host answered for payments.

-- The host's code for the payment as it stands now, and the batch it was uploaded in.
ALTER TABLE payment ADD COLUMN upload_code TEXT;
ALTER TABLE payment ADD COLUMN upload_batch INTEGER;
CREATE INDEX payment_by_batch ON payment (upload_batch, id) WHERE upload_batch IS NOT NULL;

-- What the entries amount to, one row a load; `doctor` compares it with the entries.
CREATE TABLE load (
    id          INTEGER PRIMARY KEY,                    -- the entry of its intent
    state       INTEGER NOT NULL,                       -- journal/load.rs, `LoadStanding`
    issuer      BLOB    NOT NULL,                       -- 8 bytes
    card        BLOB    NOT NULL,                       -- application serial number, 10 bytes
    amount      INTEGER NOT NULL,                       -- minor units
    currency    INTEGER NOT NULL,                       -- ISO 4217 numeric
    batch       INTEGER NOT NULL,                       -- identity of the request at the host
    trace       INTEGER NOT NULL,
    local_date  TEXT    NOT NULL,                       -- YYYY-MM-DD
    local_time  TEXT    NOT NULL,                       -- HH:MM:SS
    reference   TEXT,                                   -- the host's, once it consented
    tac         TEXT,                                   -- hexadecimal, once the card was credited
    code        TEXT,                                   -- the host's last code about it
    last        INTEGER NOT NULL                        -- the entry of its last state
) STRICT;

CREATE INDEX load_by_day ON load (local_date, id);
