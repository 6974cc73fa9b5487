-- Schema 2. Rows of limited accounts may lag behind the transfers (behind.rs). `through`: the newest transfer in the row's totals.
-- `replay_from`: every transfer before it is in every row.

ALTER TABLE accounts ADD COLUMN through INTEGER NOT NULL DEFAULT 0;
UPDATE accounts SET through = (SELECT coalesce(max(seq), 0) FROM transfers);

CREATE TABLE accounts_behind (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    replay_from INTEGER NOT NULL
) STRICT;
INSERT INTO accounts_behind SELECT 1, coalesce(max(seq), 0) + 1 FROM transfers;
