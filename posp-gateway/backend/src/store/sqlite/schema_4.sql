-- Schema 4: what the issuer's side believes of a card (how many counters are accounted for, since when some are missing), versions of
-- the deny list, and counters paid by policy apart from counters that a TAC has proved.

CREATE TABLE resolutions (
    issuer BLOB NOT NULL,
    asn BLOB NOT NULL,
    counter INTEGER NOT NULL,
    sam BLOB NOT NULL,
    term_seq INTEGER NOT NULL,
    PRIMARY KEY (issuer, asn, counter)
) STRICT, WITHOUT ROWID;
INSERT INTO resolutions
    SELECT c.issuer, c.asn, c.counter, c.sam, c.term_seq FROM claims c
    JOIN records r ON r.sam = c.sam AND r.term_seq = c.term_seq WHERE r.standing = 7;
DROP TRIGGER claims_remain;
DELETE FROM claims WHERE EXISTS (
    SELECT 1 FROM resolutions r WHERE r.issuer = claims.issuer AND r.asn = claims.asn AND r.counter = claims.counter);
CREATE TRIGGER claims_remain BEFORE DELETE ON claims
    BEGIN SELECT RAISE(ABORT, 'a counter belongs to one record'); END;
CREATE TRIGGER resolutions_stay BEFORE UPDATE ON resolutions
    BEGIN SELECT RAISE(ABORT, 'a counter is paid by policy once'); END;
CREATE TRIGGER resolutions_remain BEFORE DELETE ON resolutions
    BEGIN SELECT RAISE(ABORT, 'a counter is paid by policy once'); END;

ALTER TABLE cards ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cards ADD COLUMN gap_since INTEGER;
ALTER TABLE cards ADD COLUMN deny_version INTEGER NOT NULL DEFAULT 0;
UPDATE cards SET
    claimed = (SELECT count(*) FROM claims c WHERE c.issuer = cards.issuer AND c.asn = cards.asn)
            + (SELECT count(*) FROM resolutions r WHERE r.issuer = cards.issuer AND r.asn = cards.asn),
    deny_version = denied;
-- Since when a gap is there was not kept: it counts from the newest commit.
UPDATE cards SET gap_since = (SELECT max(at) FROM links) WHERE newest_counter + 1 > claimed;
CREATE INDEX cards_denied ON cards (deny_version) WHERE deny_version > 0;
CREATE INDEX cards_gaps ON cards (gap_since) WHERE gap_since IS NOT NULL;

ALTER TABLE registry ADD COLUMN deny INTEGER NOT NULL DEFAULT 0;
UPDATE registry SET deny = coalesce((SELECT max(deny_version) FROM cards), 0);
