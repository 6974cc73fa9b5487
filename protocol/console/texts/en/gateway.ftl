# The gateway: help, operations, reports.

help-posp-gateway = Runs the acquirer's gateway: terminals, transactions, books
    .examples =
        posp-gateway init                                write a commented posp-gateway.toml, keys and an empty database
        posp-gateway merchant add M1 --name "Corner Shop"
        posp-gateway terminal add T0000001 --merchant M1
        posp-gateway serve                               let terminals in
        posp-gateway audit                               prove the books
help-posp-gateway-init = Write a commented configuration, keys and an empty database
    .examples =
        posp-gateway init
        posp-gateway --config /etc/tapline/posp-gateway.toml init
        posp-gateway init --print > compare.toml
help-posp-gateway-init-print = Print the default configuration instead of writing it
help-posp-gateway-serve = Let terminals in until SIGTERM or SIGINT
    .examples =
        posp-gateway serve
        TAPLINE_LOG=debug posp-gateway serve
help-posp-gateway-merchant = Merchants
    .examples =
        posp-gateway merchant add M00000000000001 --name "Corner Shop"
help-posp-gateway-merchant-add = Register a merchant
    .examples =
        posp-gateway merchant add M00000000000001 --name "Corner Shop"
        posp-gateway --json merchant add M2 --name Café --currency EUR
help-posp-gateway-merchant-add-merchant = Merchant identification, up to 15 characters
help-posp-gateway-merchant-add-name = Name on statements and receipts
help-posp-gateway-merchant-add-currency = Currency of its account
help-posp-gateway-terminal = Terminals
    .examples =
        posp-gateway terminal add T0000001 --merchant M1
help-posp-gateway-terminal-add = Register a terminal, write its provisioning file, show its one-time code
    .examples =
        posp-gateway terminal add T0000001 --merchant M1
        posp-gateway terminal add T0000001 --merchant M1 --file till.toml --renew
help-posp-gateway-terminal-add-terminal = Terminal identification, up to 8 characters
help-posp-gateway-terminal-add-merchant = The merchant it belongs to
help-posp-gateway-terminal-add-acquirer = Acquirer, up to 11 digits
help-posp-gateway-terminal-add-file = Where the provisioning file is written; otherwise TERMINAL.toml
help-posp-gateway-terminal-add-renew = Give a terminal that has a master key a new one
help-posp-gateway-sam = SAMs
    .examples =
        posp-gateway sam add 000000000001 --terminal T0000001
help-posp-gateway-sam-add = From now on this SAM works in this terminal
    .examples =
        posp-gateway sam add 000000000001 --terminal T0000001
        posp-gateway sam add 000000000001 --terminal T0000001 --from "2026-11-22 06:00:00"
help-posp-gateway-sam-add-sam = The SAM's terminal number, 12 hexadecimal digits
help-posp-gateway-sam-add-terminal = The terminal it works in
help-posp-gateway-sam-add-from = Since when, local time; otherwise now
help-posp-gateway-sam-retry = Book records that were held because their SAM was unknown
    .examples =
        posp-gateway sam retry 000000000001
help-posp-gateway-sam-retry-sam = The SAM's terminal number, 12 hexadecimal digits
help-posp-gateway-issuer = Issuers of purses
    .examples =
        posp-gateway issuer add issuer.toml
help-posp-gateway-issuer-add = Register an issuer and take in its keys
    .examples =
        posp-gateway issuer add issuer.toml
help-posp-gateway-issuer-add-file = Its key file, as card-applet-sim makes it
help-posp-gateway-card = Purses
    .examples =
        posp-gateway card add 62170000001234567890 --issuer 5441504C494E4500
help-posp-gateway-card-add = Register an issued purse
    .examples =
        posp-gateway card add 62170000001234567890 --issuer 5441504C494E4500 --funding bank:1
help-posp-gateway-card-add-asn = Serial number, 20 hexadecimal digits
help-posp-gateway-card-add-issuer = Issuer, 16 hexadecimal digits
help-posp-gateway-card-add-key-version = Version of its keys
help-posp-gateway-card-add-funding = Account that loads draw on, such as bank:1
help-posp-gateway-card-deny = Put a card on the deny list, or take it off
    .examples =
        posp-gateway card deny 62170000001234567890 --issuer 5441504C494E4500
        posp-gateway card deny 62170000001234567890 --issuer 5441504C494E4500 --lift
help-posp-gateway-card-deny-asn = Serial number, 20 hexadecimal digits
help-posp-gateway-card-deny-issuer = Issuer, 16 hexadecimal digits
help-posp-gateway-card-deny-lift = Take it off the list
help-posp-gateway-funding = Cardholders' accounts
    .examples =
        posp-gateway funding add bank:1
help-posp-gateway-funding-add = Open a cardholder's account
    .examples =
        posp-gateway funding add bank:1
        posp-gateway funding add carrier:138 --currency CNY
help-posp-gateway-funding-add-account = bank:NUMBER, third-party:NUMBER or carrier:NUMBER
help-posp-gateway-funding-add-currency = Currency of the account
help-posp-gateway-funding-deposit = Book money that arrived for a cardholder's account
    .examples =
        posp-gateway funding deposit bank:1 500.00 --reference 1
help-posp-gateway-funding-deposit-account = bank:NUMBER, third-party:NUMBER or carrier:NUMBER
help-posp-gateway-funding-deposit-amount = Amount, for example 500.00
help-posp-gateway-funding-deposit-currency = Currency of the account
help-posp-gateway-funding-deposit-reference = Your own unique number for this arrival; the same number again books nothing
help-posp-gateway-report = Reports
    .examples =
        posp-gateway report merchant M1
        posp-gateway report batch T0000001
help-posp-gateway-report-merchant = A merchant's statement
    .examples =
        posp-gateway report merchant M1
        posp-gateway report merchant M1 --from 2026-11-01 --to 2026-11-30
help-posp-gateway-report-merchant-merchant = Merchant identification
help-posp-gateway-report-merchant-from = First day, YYYY-MM-DD
help-posp-gateway-report-merchant-to = Last day, YYYY-MM-DD
help-posp-gateway-report-batch = A batch: totals of both sides and every difference
    .examples =
        posp-gateway report batch T0000001
        posp-gateway report batch T0000001 17
help-posp-gateway-report-batch-terminal = Terminal identification
help-posp-gateway-report-batch-batch = Batch number; otherwise the open one or the one before
help-posp-gateway-report-card = A card as the books know it
    .examples =
        posp-gateway report card 62170000001234567890 --issuer 5441504C494E4500
help-posp-gateway-report-card-asn = Serial number, 20 hexadecimal digits
help-posp-gateway-report-card-issuer = Issuer, 16 hexadecimal digits
help-posp-gateway-report-alerts = The newest alerts
    .examples =
        posp-gateway report alerts --limit 10
help-posp-gateway-report-alerts-limit = Most alerts to list
help-posp-gateway-audit = Re-derive all books and prove that nothing was made or lost
    .examples =
        posp-gateway audit
        posp-gateway --json audit
help-posp-gateway-settle = Decide uncertain offline debits that are old enough
    .examples =
        posp-gateway settle
        posp-gateway settle --older-than 14
help-posp-gateway-settle-older-than = How old, in days
help-posp-gateway-doctor = Check configuration, database, keys, address and clock
    .examples =
        posp-gateway doctor
help-posp-gateway-completions = Print a completion script for a shell
    .examples =
        posp-gateway completions bash > /etc/bash_completion.d/posp-gateway
help-posp-gateway-completions-shell = bash, zsh, fish, elvish or powershell

gateway-init = Wrote { $config } and an empty database { $database }.
    Keep { $master } apart from the rest: it opens the key file. Next: merchant add, terminal add, issuer add, serve.
gateway-listening = Listening for terminals at { $address }
gateway-stopped = Stopped: every answer has left, the books are closed.
gateway-running = Running: { $connections } connections, { $terminals } terminals signed in
gateway-registered = Done: { $what } { $name }
gateway-existed = It was so already: { $what } { $name }
gateway-what-merchant = merchant
gateway-what-terminal = terminal
gateway-what-sam = SAM
gateway-what-issuer = issuer
gateway-what-card = card
gateway-what-funding = account
gateway-what-deposit = deposit for
gateway-provisioned = Terminal { $terminal } is registered. Its one-time code, shown only now:

    { "  " }{ $code }

gateway-provisioned-file = Bring { $file } to the terminal, and the code by another way.
gateway-counted-records = { $count } held records are booked.
gateway-counted-uncertain = { $count } uncertain offline debits are decided.
gateway-statement = Statement of { $merchant }, { $name }
gateway-payable = { $count } lines, owed to the merchant: { $payable }
gateway-line-purchase = purchase
gateway-line-returned = returned
gateway-line-purse-purchase = purse purchase
gateway-line-load = load by cash, or refund onto a purse
gateway-line-clearing = paid out
gateway-line-adjustment = correction
gateway-batch = Batch { $batch } of { $terminal }, { $state }
gateway-batch-open = open
gateway-batch-uploading = totals differ, the terminal uploads
gateway-batch-closed = closed
gateway-debits = debits
gateway-credits = credits
gateway-loads = loads
gateway-totals = { $name }: host { $host }, terminal { $terminal } (minor units / count)
gateway-difference = differs: { $key }: host { $host }, terminal { $terminal }
gateway-absent = none
gateway-card = Card { $card }, { $state }: loaded { $loaded }, spent { $spent }, loads not confirmed { $open } (minor units)
gateway-card-denied = on the deny list
gateway-card-active = active
gateway-no-alerts = No alerts.
gateway-audit-counts = Re-derived: { $commits } commits, { $transfers } transfers, { $transactions } transactions, { $records } offline records, { $cards } cards
gateway-audit-turnover = All debits = all credits = { $amount }
gateway-audit-float = Issuer { $issuer }: on cards { $posted } = loads − purchases; held for loads not confirmed { $pending }
gateway-audit-head = Chain of commits unbroken up to { $head }
gateway-audit-clean = The books balance: nothing was made, nothing was lost.
gateway-audit-exceptions = { $count } exceptions: stop settling, keep the database, find out why.
