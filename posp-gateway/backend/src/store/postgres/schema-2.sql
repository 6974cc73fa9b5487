-- Schema 2: loads that were asked for at one online counter of a card stay candidates until it is decided which of them the card was credited with. No
-- column changes: an older program, which would release what it does not know, refuses the database.

COMMENT ON COLUMN tapline.loads.txn IS
    'the newest at this counter until one is proved, then that one; its transaction names the one before it as its original';
COMMENT ON COLUMN tapline.loads.state IS
    '1 consented, 2 disputed, 3 posted, 4 released, 5 presumed: booked without a proof';
