-- Schema 5: loads that were asked for at one online counter of a card stay candidates until it is decided which of them the card was credited with.
-- A load's transaction names the one before it as its original, and loads.state may be 5 (booked without a proof). No column changes: an older program,
-- which would release what it does not know, refuses the ledger.
SELECT 1;
