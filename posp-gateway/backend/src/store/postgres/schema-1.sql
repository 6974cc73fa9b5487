-- Schema 1. Amounts are minor units; times are milliseconds since 1970 (UTC); 128-bit ids are 16 bytes big-endian.
--
-- Every table has a distribution key in its primary key (named in its comment), so that an engine that distributes PostgreSQL can shard it;
-- `reference` tables are small and would be kept whole everywhere. `version` counts the changes of a row: a gateway that decided on an
-- older one decides again. Texts are ordered by their bytes. No row of a merchant or of the system is changed by a payment.
--
-- What is granted to the gateways' role is at the end of this file: it can append postings, never change or remove them.

CREATE SCHEMA tapline;

CREATE TABLE tapline.registry (
    one smallint PRIMARY KEY CHECK (one = 1),
    issuers integer NOT NULL,
    merchants integer NOT NULL,
    deny bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1
);
COMMENT ON TABLE tapline.registry IS 'distribution: reference';

CREATE TABLE tapline.issuers (
    id bytea PRIMARY KEY,
    number integer NOT NULL UNIQUE,
    currency smallint NOT NULL,
    upper_factors bytea NOT NULL,
    load_limit bigint NOT NULL
);
COMMENT ON TABLE tapline.issuers IS 'distribution: reference';

CREATE TABLE tapline.merchants (
    id text COLLATE "C" PRIMARY KEY,
    number integer NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    currency smallint NOT NULL
);
COMMENT ON TABLE tapline.merchants IS 'distribution: reference';

CREATE TABLE tapline.terminals (
    id text COLLATE "C" PRIMARY KEY,
    merchant text COLLATE "C" NOT NULL,
    acquirer bigint NOT NULL,
    open integer,
    newest integer NOT NULL,
    version bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 70);
COMMENT ON TABLE tapline.terminals IS 'distribution: id (terminal)';

-- assignments: since 7 | 1 | terminal 8 | merchant 15, or since 7 | 0 | 23 zeros, ascending.
CREATE TABLE tapline.sams (
    number bytea PRIMARY KEY,
    assignments bytea NOT NULL,
    version bigint NOT NULL DEFAULT 1
);
COMMENT ON TABLE tapline.sams IS 'distribution: reference';

CREATE TABLE tapline.payers (
    token bytea PRIMARY KEY,
    account bytea NOT NULL
);
COMMENT ON TABLE tapline.payers IS 'distribution: token (card)';

CREATE TABLE tapline.accounts (
    id bytea PRIMARY KEY,
    currency smallint NOT NULL,
    code smallint NOT NULL,
    flags smallint NOT NULL,
    debits_pending bigint NOT NULL,
    debits_posted bigint NOT NULL,
    credits_pending bigint NOT NULL,
    credits_posted bigint NOT NULL,
    created bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CHECK (debits_pending >= 0 AND debits_posted >= 0 AND credits_pending >= 0 AND credits_posted >= 0),
    -- Debits within credits where the flags say so, whatever a program believed.
    CHECK (flags & 1 = 0 OR debits_posted + debits_pending <= credits_posted),
    CHECK (flags & 2 = 0 OR credits_posted + credits_pending <= debits_posted)
) WITH (fillfactor = 70);
COMMENT ON TABLE tapline.accounts IS 'distribution: id (card or merchant)';

CREATE TABLE tapline.batches (
    terminal text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    currency smallint NOT NULL,
    state smallint NOT NULL,
    host bytea NOT NULL,
    of_terminal bytea,
    first bigint NOT NULL,
    last bigint NOT NULL,
    differences bytea NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (terminal, number)
) WITH (fillfactor = 50);
COMMENT ON TABLE tapline.batches IS 'distribution: terminal';

CREATE TABLE tapline.uploads (
    terminal text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    key bytea NOT NULL,
    item bytea NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (terminal, number, key)
);
COMMENT ON TABLE tapline.uploads IS 'distribution: terminal';

CREATE TABLE tapline.cards (
    issuer bytea NOT NULL,
    asn bytea NOT NULL,
    key_version smallint NOT NULL,
    funding bytea,
    denied smallint NOT NULL,
    next_online integer NOT NULL,
    open_load integer,
    newest_counter integer,
    newest_balance bigint,
    loaded bigint NOT NULL,
    spent bigint NOT NULL,
    claimed integer NOT NULL,
    gap_since bigint,
    deny_version bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (issuer, asn)
) WITH (fillfactor = 70);
COMMENT ON TABLE tapline.cards IS 'distribution: asn (card)';
CREATE INDEX cards_denied ON tapline.cards (deny_version) WHERE deny_version > 0;
CREATE INDEX cards_gaps ON tapline.cards (gap_since) WHERE gap_since IS NOT NULL;

CREATE TABLE tapline.loads (
    issuer bytea NOT NULL,
    asn bytea NOT NULL,
    counter integer NOT NULL,
    txn bigint NOT NULL,
    hold bigint NOT NULL,
    payer bytea NOT NULL,
    amount bigint NOT NULL,
    currency smallint NOT NULL,
    sam bytea NOT NULL,
    balance_old bigint NOT NULL,
    moment bytea NOT NULL,
    state smallint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (issuer, asn, counter)
);
COMMENT ON TABLE tapline.loads IS 'distribution: asn (card)';

-- content: the record as in field 58 (tag TA).
CREATE TABLE tapline.records (
    sam bytea NOT NULL,
    term_seq bigint NOT NULL,
    content bytea NOT NULL,
    standing smallint NOT NULL,
    merchant text COLLATE "C",
    txn bigint NOT NULL,
    transfer bigint,
    received bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (sam, term_seq)
);
COMMENT ON TABLE tapline.records IS 'distribution: sam (terminal)';
CREATE INDEX records_open ON tapline.records (sam, term_seq) WHERE standing IN (2, 3, 8);

CREATE TABLE tapline.claims (
    issuer bytea NOT NULL,
    asn bytea NOT NULL,
    counter integer NOT NULL,
    sam bytea NOT NULL,
    term_seq bigint NOT NULL,
    PRIMARY KEY (issuer, asn, counter)
);
COMMENT ON TABLE tapline.claims IS 'distribution: asn (card)';

-- Counters paid by policy, apart from those that a TAC has proved.
CREATE TABLE tapline.resolutions (
    issuer bytea NOT NULL,
    asn bytea NOT NULL,
    counter integer NOT NULL,
    sam bytea NOT NULL,
    term_seq bigint NOT NULL,
    PRIMARY KEY (issuer, asn, counter)
);
COMMENT ON TABLE tapline.resolutions IS 'distribution: asn (card)';

-- Limits are few, read whole and remembered; `limits_head` says whether any has changed since. `scope` and `of`: a letter (K kind, P payer,
-- T terminal, M merchant) and what it names.
CREATE TABLE tapline.limits (
    scope bytea PRIMARY KEY,
    payment_max bigint,
    day_sum_max bigint,
    day_count_max bigint,
    version bigint NOT NULL DEFAULT 1
);
COMMENT ON TABLE tapline.limits IS 'distribution: reference';

CREATE TABLE tapline.limits_head (one smallint PRIMARY KEY CHECK (one = 1), version bigint NOT NULL);
INSERT INTO tapline.limits_head VALUES (1, 1);
COMMENT ON TABLE tapline.limits_head IS 'distribution: reference';

CREATE TABLE tapline.usages (
    of bytea PRIMARY KEY,
    day bytea NOT NULL,
    since bigint NOT NULL,
    used_minor bigint NOT NULL,
    used_count bigint NOT NULL,
    left_minor bigint NOT NULL,
    left_count bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 70);
COMMENT ON TABLE tapline.usages IS 'distribution: of (card or terminal)';

-- terminals: 8 bytes each.
CREATE TABLE tapline.shares (
    merchant text COLLATE "C" PRIMARY KEY,
    day bytea NOT NULL,
    since bigint NOT NULL,
    granted_minor bigint NOT NULL,
    granted_count bigint NOT NULL,
    terminals bytea NOT NULL,
    version bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 70);
COMMENT ON TABLE tapline.shares IS 'distribution: merchant';

CREATE TABLE tapline.arrivals (
    reference bigint PRIMARY KEY,
    transfer bigint NOT NULL
);
COMMENT ON TABLE tapline.arrivals IS 'distribution: reference (card, by its arrival)';

CREATE TABLE tapline.transfers (
    seq bigint NOT NULL,
    reference bytea NOT NULL,
    debit bytea NOT NULL,
    credit bytea NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    currency smallint NOT NULL,
    code smallint NOT NULL,
    kind smallint NOT NULL,
    of bigint,
    expires bigint,
    txn bigint,
    at bigint NOT NULL,
    PRIMARY KEY (seq, credit)
);
COMMENT ON TABLE tapline.transfers IS 'distribution: credit (the merchant of a payment)';

-- What changes about a pending transfer. State 0: open. place: the transfer's credit.
CREATE TABLE tapline.holds (
    seq bigint NOT NULL,
    place bytea NOT NULL,
    state smallint NOT NULL,
    expires bigint,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (seq, place)
);
COMMENT ON TABLE tapline.holds IS 'distribution: place (the merchant of a payment)';
CREATE INDEX holds_due ON tapline.holds (expires, seq) WHERE state = 0 AND expires IS NOT NULL;

CREATE TABLE tapline.transactions (
    seq bigint NOT NULL,
    acquirer bigint NOT NULL,
    terminal text COLLATE "C" NOT NULL,
    merchant text COLLATE "C" NOT NULL,
    batch integer NOT NULL,
    trace integer NOT NULL,
    digest bytea NOT NULL,
    kind smallint NOT NULL,
    amount bigint,
    currency smallint,
    original bigint,
    payer bytea,
    payee bytea,
    load_issuer bytea,
    load_asn bytea,
    load_counter integer,
    code text COLLATE "C" NOT NULL,
    authorisation text COLLATE "C",
    moment bytea NOT NULL,
    body bytea NOT NULL,
    at bigint NOT NULL,
    state smallint NOT NULL,
    transfer bigint,
    refunded bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    -- An identity is one transaction, whichever gateways its message came to.
    PRIMARY KEY (terminal, batch, trace, acquirer, merchant),
    UNIQUE (seq, terminal)
);
COMMENT ON TABLE tapline.transactions IS 'distribution: terminal';

CREATE TABLE tapline.alerts (
    number bigint PRIMARY KEY,
    at bigint NOT NULL,
    kind smallint NOT NULL,
    issuer bytea,
    asn bytea,
    sam bytea,
    term_seq bigint,
    transfer bigint
);
COMMENT ON TABLE tapline.alerts IS 'distribution: number (its gateway)';

-- One chain for each gateway; its number is in the upper bits of `number`.
CREATE TABLE tapline.links (
    number bigint PRIMARY KEY,
    at bigint NOT NULL,
    first_transfer bigint NOT NULL,
    next_transfer bigint NOT NULL,
    first_transaction bigint NOT NULL,
    next_transaction bigint NOT NULL,
    hash bytea NOT NULL
);
COMMENT ON TABLE tapline.links IS 'distribution: number (its gateway)';

-- Ends a commit whose reads another gateway has overtaken: the sender decides again.
CREATE FUNCTION tapline.expect(unchanged bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF unchanged <> wanted THEN
        RAISE EXCEPTION 'another gateway was first: % of % rows are as they were read', unchanged, wanted USING ERRCODE = '40001';
    END IF;
END $$;

-- The owner is as bound as the gateways are, unless it first takes these triggers away.
CREATE FUNCTION tapline.stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is in tapline.% never changes and is never removed', TG_TABLE_NAME USING ERRCODE = '42501';
END $$;
CREATE TRIGGER transfers_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON tapline.transfers
    FOR EACH STATEMENT EXECUTE FUNCTION tapline.stays();
CREATE TRIGGER links_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON tapline.links
    FOR EACH STATEMENT EXECUTE FUNCTION tapline.stays();
CREATE TRIGGER claims_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON tapline.claims
    FOR EACH STATEMENT EXECUTE FUNCTION tapline.stays();
CREATE TRIGGER resolutions_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON tapline.resolutions
    FOR EACH STATEMENT EXECUTE FUNCTION tapline.stays();
CREATE TRIGGER transactions_stay BEFORE DELETE OR TRUNCATE ON tapline.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION tapline.stays();
CREATE TRIGGER transactions_fixed BEFORE UPDATE OF
    seq, acquirer, terminal, merchant, batch, trace, digest, kind, amount, currency, original, payer, payee,
    load_issuer, load_asn, load_counter, code, authorisation, moment, body, at ON tapline.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION tapline.stays();
CREATE TRIGGER records_stay BEFORE DELETE OR TRUNCATE ON tapline.records
    FOR EACH STATEMENT EXECUTE FUNCTION tapline.stays();

CREATE TABLE tapline.schema (one smallint PRIMARY KEY CHECK (one = 1), version integer NOT NULL);
COMMENT ON TABLE tapline.schema IS 'distribution: reference';
INSERT INTO tapline.schema VALUES (1, 1);
