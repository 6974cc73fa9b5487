-- Schema 1. Tables that grow with every payment are clustered by their ascending number; nothing hot has an index on a
-- random value. Amounts are minor units; times are milliseconds since 1970 (UTC); 128-bit ids are 16 bytes big-endian.

CREATE TABLE accounts (
    id BLOB NOT NULL PRIMARY KEY,
    currency INTEGER NOT NULL,
    code INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    debits_pending INTEGER NOT NULL,
    debits_posted INTEGER NOT NULL,
    credits_pending INTEGER NOT NULL,
    credits_posted INTEGER NOT NULL,
    created INTEGER NOT NULL,
    CHECK (debits_pending >= 0 AND debits_posted >= 0 AND credits_pending >= 0 AND credits_posted >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
    seq INTEGER PRIMARY KEY,
    reference BLOB NOT NULL,
    debit BLOB NOT NULL,
    credit BLOB NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency INTEGER NOT NULL,
    code INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    of INTEGER,
    expires INTEGER,
    txn INTEGER,
    at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER transfers_stay BEFORE UPDATE ON transfers
    BEGIN SELECT RAISE(ABORT, 'a transfer never changes'); END;
CREATE TRIGGER transfers_remain BEFORE DELETE ON transfers
    BEGIN SELECT RAISE(ABORT, 'a transfer is never removed'); END;

-- What changes about a pending transfer. State 0: open.
CREATE TABLE holds (
    seq INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    expires INTEGER
) STRICT;
CREATE INDEX holds_due ON holds (expires, seq) WHERE state = 0 AND expires IS NOT NULL;

CREATE TABLE transactions (
    seq INTEGER PRIMARY KEY,
    acquirer INTEGER NOT NULL,
    terminal TEXT NOT NULL,
    merchant TEXT NOT NULL,
    batch INTEGER NOT NULL,
    trace INTEGER NOT NULL,
    digest BLOB NOT NULL,
    kind INTEGER NOT NULL,
    amount INTEGER,
    currency INTEGER,
    original INTEGER,
    payer BLOB,
    payee BLOB,
    load_issuer BLOB,
    load_asn BLOB,
    load_counter INTEGER,
    code TEXT NOT NULL,
    authorisation TEXT,
    moment BLOB NOT NULL,
    body BLOB NOT NULL,
    at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    transfer INTEGER,
    refunded INTEGER NOT NULL
) STRICT;
CREATE TRIGGER transactions_stay BEFORE UPDATE OF
    seq, acquirer, terminal, merchant, batch, trace, digest, kind, amount, currency, original, payer, payee,
    load_issuer, load_asn, load_counter, code, authorisation, moment, body, at ON transactions
    BEGIN SELECT RAISE(ABORT, 'what a transaction was never changes'); END;
CREATE TRIGGER transactions_remain BEFORE DELETE ON transactions
    BEGIN SELECT RAISE(ABORT, 'a transaction is never removed'); END;

CREATE TABLE batches (
    terminal TEXT NOT NULL,
    number INTEGER NOT NULL,
    currency INTEGER NOT NULL,
    state INTEGER NOT NULL,
    host BLOB NOT NULL,
    of_terminal BLOB,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    differences BLOB NOT NULL,
    PRIMARY KEY (terminal, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_open ON batches (first) WHERE state <> 2;

-- The index of closed batches, written when a batch closes: neighbours stay neighbours. Open batches are indexed in memory.
CREATE TABLE batch_items (
    terminal TEXT NOT NULL,
    number INTEGER NOT NULL,
    trace INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (terminal, number, trace, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE uploads (
    terminal TEXT NOT NULL,
    number INTEGER NOT NULL,
    key BLOB NOT NULL,
    item BLOB NOT NULL,
    PRIMARY KEY (terminal, number, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE issuers (
    id BLOB NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    currency INTEGER NOT NULL,
    upper_factors BLOB NOT NULL,
    load_limit INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE merchants (
    id TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL,
    currency INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE terminals (
    id TEXT NOT NULL PRIMARY KEY,
    merchant TEXT NOT NULL,
    acquirer INTEGER NOT NULL,
    open INTEGER,
    newest INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sams (
    number BLOB NOT NULL,
    since BLOB NOT NULL,
    terminal TEXT,
    merchant TEXT,
    PRIMARY KEY (number, since)
) STRICT, WITHOUT ROWID;

CREATE TABLE payers (
    token BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE arrivals (
    reference INTEGER PRIMARY KEY,
    transfer INTEGER NOT NULL
) STRICT;

CREATE TABLE cards (
    issuer BLOB NOT NULL,
    asn BLOB NOT NULL,
    key_version INTEGER NOT NULL,
    funding BLOB,
    denied INTEGER NOT NULL,
    next_online INTEGER NOT NULL,
    open_load INTEGER,
    newest_counter INTEGER,
    newest_balance INTEGER,
    loaded INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    PRIMARY KEY (issuer, asn)
) STRICT, WITHOUT ROWID;

CREATE TABLE loads (
    issuer BLOB NOT NULL,
    asn BLOB NOT NULL,
    counter INTEGER NOT NULL,
    txn INTEGER NOT NULL,
    hold INTEGER NOT NULL,
    payer BLOB NOT NULL,
    amount INTEGER NOT NULL,
    currency INTEGER NOT NULL,
    sam BLOB NOT NULL,
    balance_old INTEGER NOT NULL,
    moment BLOB NOT NULL,
    state INTEGER NOT NULL,
    PRIMARY KEY (issuer, asn, counter)
) STRICT, WITHOUT ROWID;

-- content: the record as in field 58 (tag TA).
CREATE TABLE records (
    sam BLOB NOT NULL,
    term_seq INTEGER NOT NULL,
    content BLOB NOT NULL,
    standing INTEGER NOT NULL,
    merchant TEXT,
    txn INTEGER NOT NULL,
    transfer INTEGER,
    received INTEGER NOT NULL,
    PRIMARY KEY (sam, term_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_open ON records (sam, term_seq) WHERE standing IN (2, 3, 8);
CREATE TRIGGER records_remain BEFORE DELETE ON records
    BEGIN SELECT RAISE(ABORT, 'a record is never removed'); END;

CREATE TABLE claims (
    issuer BLOB NOT NULL,
    asn BLOB NOT NULL,
    counter INTEGER NOT NULL,
    sam BLOB NOT NULL,
    term_seq INTEGER NOT NULL,
    PRIMARY KEY (issuer, asn, counter)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER claims_stay BEFORE UPDATE ON claims
    BEGIN SELECT RAISE(ABORT, 'a counter belongs to one record'); END;
CREATE TRIGGER claims_remain BEFORE DELETE ON claims
    BEGIN SELECT RAISE(ABORT, 'a counter belongs to one record'); END;

CREATE TABLE alerts (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    issuer BLOB,
    asn BLOB,
    sam BLOB,
    term_seq INTEGER,
    transfer INTEGER
) STRICT;

CREATE TABLE links (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    first_transfer INTEGER NOT NULL,
    next_transfer INTEGER NOT NULL,
    first_transaction INTEGER NOT NULL,
    next_transaction INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER links_stay BEFORE UPDATE ON links
    BEGIN SELECT RAISE(ABORT, 'a link never changes'); END;
CREATE TRIGGER links_remain BEFORE DELETE ON links
    BEGIN SELECT RAISE(ABORT, 'a link is never removed'); END;

CREATE TABLE registry (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    issuers INTEGER NOT NULL,
    merchants INTEGER NOT NULL
) STRICT;
