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
help-posp-gateway-card-rekey = Say that a card has keys of another version than it was registered with, and book what was held for it
    .examples =
        posp-gateway card rekey 62170000001234567890 --issuer 5441504C494E4500 --key-version 2
help-posp-gateway-card-rekey-asn = Serial number, 20 hexadecimal digits
help-posp-gateway-card-rekey-issuer = Issuer, 16 hexadecimal digits
help-posp-gateway-card-rekey-key-version = Version of the card's keys
help-posp-gateway-card-deny = Put a card on the deny list, or take it off
    .examples =
        posp-gateway card deny 62170000001234567890 --issuer 5441504C494E4500
        posp-gateway card deny 62170000001234567890 --issuer 5441504C494E4500 --lift
help-posp-gateway-card-deny-asn = Serial number, 20 hexadecimal digits
help-posp-gateway-card-deny-issuer = Issuer, 16 hexadecimal digits
help-posp-gateway-card-deny-lift = Take it off the list
help-posp-gateway-card-release = Free the money that is held for a load whose card never came back
    .examples =
        posp-gateway report card 62170000001234567890 --issuer 5441504C494E4500
        posp-gateway card release 62170000001234567890 --issuer 5441504C494E4500 --counter 7 --reference 000000000042
help-posp-gateway-card-release-asn = Serial number, 20 hexadecimal digits
help-posp-gateway-card-release-issuer = Issuer, 16 hexadecimal digits
help-posp-gateway-card-release-counter = Online counter of the load, as “report card” shows it
help-posp-gateway-card-release-reference = Retrieval reference of the newest load there, as “report card” shows it: one that came after it is not released
help-posp-gateway-card-credit = Say which of several loads a card was credited with, when no proof of it will come
    .examples =
        posp-gateway report transaction --load --issuer 5441504C494E4500 --card 62170000001234567890 --counter 7
        posp-gateway card credit 62170000001234567890 --issuer 5441504C494E4500 --counter 7 --reference 000000000042
help-posp-gateway-card-credit-asn = Serial number, 20 hexadecimal digits
help-posp-gateway-card-credit-issuer = Issuer, 16 hexadecimal digits
help-posp-gateway-card-credit-counter = Online counter of the loads, as “report card” shows it
help-posp-gateway-card-credit-reference = Retrieval reference of the load, as “report transaction” shows it
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
help-posp-gateway-report-open = Offline records that are not decided, with what the cards' chains say
    .examples =
        posp-gateway report open
        posp-gateway --json report open --limit 50
help-posp-gateway-report-open-limit = Most records to list
help-posp-gateway-report-deny-list = Cards that went on the deny list or off it
    .examples =
        posp-gateway report deny-list
        posp-gateway --json report deny-list --since 17
help-posp-gateway-report-deny-list-since = Only changes after this version of the list
help-posp-gateway-report-deny-list-limit = Most changes to list
help-posp-gateway-record = Offline records
    .examples =
        posp-gateway record decide 000000000001 42 --void
help-posp-gateway-record-decide = Decide an uncertain offline debit that the card's chain leaves open
    .examples =
        posp-gateway record decide 000000000001 42 --pay
        posp-gateway record decide 000000000001 42 --void
help-posp-gateway-record-decide-sam = The SAM's terminal number, 12 hexadecimal digits
help-posp-gateway-record-decide-seq = The record's number, as “report open” shows it
help-posp-gateway-record-decide-pay = Pay the merchant, as if the card's chain had shown it
help-posp-gateway-record-decide-void = Close it: nothing happened
help-posp-gateway-backup = Write a sealed, verified copy of the ledger, also while the gateway runs
    .examples =
        posp-gateway backup /backup/ledger-2026-11-22.tlb
help-posp-gateway-backup-file = The file; it must not exist
help-posp-gateway-restore = Bring a ledger back from a backup, where there is none
    .examples =
        posp-gateway restore /backup/ledger-2026-11-22.tlb
help-posp-gateway-restore-file = A file that “backup” wrote
help-posp-gateway-audit = Re-derive all books and prove that nothing was made or lost
    .examples =
        posp-gateway audit
        posp-gateway --json audit
        posp-gateway audit --heads /elsewhere/heads.jsonl
help-posp-gateway-audit-heads = Compare the chain with heads that were exported to this file
help-posp-gateway-audit-export-head = Sign the newest head of the chain and append it to this file
help-posp-gateway-settle = Decide uncertain offline debits that are old enough, tell of missing records, export a head
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
gateway-init-server = The gateway of { $config } can work on { $database }.
    Keep { $master } apart from the rest: it opens the key file. The other gateways need copies of both files; each has a number of its own (postgres.gateway).
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
gateway-card = Card { $card }, { $state }: loaded { $loaded }, spent { $spent }, expected on it { $expected }, loads not confirmed { $open } (minor units); { $missing } records missing
gateway-card-open-load = { $open } (minor units) are held for its load { $reference } with online counter { $counter }, which is neither confirmed nor released.
gateway-card-open-amounts = It was asked for more than once: the card may have been credited with one of { $amounts } (minor units). Its proof decides, or a person (posp-gateway card credit).
gateway-load-released = Released: { $amount } held for card { $card }, online counter { $counter }, is free again.
    If the card shows later that it was credited after all, that is booked: from the payer's account, or as the issuer's loss, with an alert.
gateway-load-credited = Booked: card { $card } was credited at online counter { $counter } with load { $reference }.
    If the card proves another one later, that is booked in its place, with an alert.
gateway-card-denied = on the deny list
gateway-card-active = active
gateway-no-alerts = No alerts.
gateway-what-record = record
gateway-no-open = Nothing is open.
gateway-evidence-consumed = happened, says the card's chain: paid once it is old enough
gateway-evidence-claimed = another record owns the counter: will be closed
gateway-evidence-not-consumed = the chain shows another amount: will be closed
gateway-evidence-outdone = a newer record of this counter fits the chain: will be closed
gateway-evidence-nothing-later = no later record of this card has come
gateway-evidence-gap = a neighbouring record of this card is missing
gateway-evidence-contested = several records fit the chain: a person decides
gateway-evidence-contradicted = does not fit its neighbours: a person decides
gateway-evidence-unknown-place = proved, but nobody registered where the SAM worked
gateway-evidence-unverified = the issuer or its key is not registered
gateway-deny-list = Deny list, version { $version }: { $count } changes
gateway-head = The head of commit { $commit } is signed and in { $file }. It verifies under the key { $key }
gateway-no-head = There is no commit yet: nothing to sign.
gateway-backup = Wrote { $file }: { $bytes } bytes, SHA-256 { $sha }. It was audited and read back; the ledger stood still for { $pause } ms.
    Keys and configuration are not in it: keep the key file, the master key and posp-gateway.toml by another way, the master key apart.
gateway-restored = Restored { $database } as of { $of }. What was booked after that is not in it:
    - terminals sign in again and repeat what had no answer: it is booked once;
    - what they had been answered since does not come by itself: bring their records again, and compare batches with “report batch”;
    - transaction numbers { $skipped } are never given out again, and batch numbers and the deny list's version jump ahead;
    - “audit --heads FILE” names every exported head that this ledger does not reach. Keep that file as evidence, and export to a new one.
gateway-restored-issuers = The key file has no keys of these issuers, whose cards can neither pay nor load: { $names }
gateway-restored-terminals = The key file does not know these terminals; restore it, or enrol them again (terminal add --renew): { $names }
gateway-audit-skipped = After a restored backup, commit { $commit } skips { $count } numbers of transactions.
gateway-audit-heads = { $count } exported heads compared with the chain
gateway-audit-counts = Re-derived: { $commits } commits, { $transfers } transfers, { $transactions } transactions, { $records } offline records, { $cards } cards
gateway-audit-turnover = All debits = all credits = { $amount }
gateway-audit-float = Issuer { $issuer }: on cards { $posted } = loads − purchases; held for loads not confirmed { $pending }
gateway-audit-head = Chain of commits unbroken up to { $head }
gateway-audit-clean = The books balance: nothing was made, nothing was lost.
gateway-audit-exceptions = { $count } exceptions: stop settling, keep the database, find out why.
help-posp-gateway-funding-close = Close a cardholder's account: nothing new is paid from or into it
    .examples =
        posp-gateway funding close bank:1
help-posp-gateway-funding-close-account = bank:NUMBER, third-party:NUMBER or carrier:NUMBER
help-posp-gateway-funding-close-currency = Currency of the account
help-posp-gateway-funding-suffices = Whether an account could pay an amount now: yes or no, and nothing else
    .examples =
        posp-gateway funding suffices carrier:138 30.00
help-posp-gateway-funding-suffices-account = bank:NUMBER, third-party:NUMBER or carrier:NUMBER
help-posp-gateway-funding-suffices-amount = Amount, for example 30.00
help-posp-gateway-funding-suffices-currency = Currency of the account
help-posp-gateway-payer = Card numbers and the accounts that they draw on
    .examples =
        posp-gateway payer add bank:1 < number.txt
help-posp-gateway-payer-add = Register a card number for the account that its payments draw on; the number is read from standard input
    .examples =
        posp-gateway payer add bank:1
        posp-gateway payer add carrier:138 --currency CNY < number.txt
help-posp-gateway-payer-add-account = bank:NUMBER, third-party:NUMBER or carrier:NUMBER
help-posp-gateway-payer-add-currency = Currency of the account
help-posp-gateway-limit = What accounts may spend and merchants take in online
    .examples =
        posp-gateway limit set --kind carrier --payment 200.00 --day-sum 500.00
help-posp-gateway-limit-list = Every limit, and what is used of it today
    .examples =
        posp-gateway limit list
        posp-gateway --json limit list --limit 100
help-posp-gateway-limit-list-limit = Most limits to list
help-posp-gateway-limit-set = Set the limits of a kind of account, an account, a terminal or a merchant; what is not given is not limited
    .examples =
        posp-gateway limit set --kind carrier --payment 200.00 --day-sum 500.00 --day-count 20
        posp-gateway limit set --merchant M1 --day-sum 100000.00
help-posp-gateway-limit-set-kind = Every account of this kind that has no limits of its own: bank, third-party or carrier
help-posp-gateway-limit-set-account = One account, such as bank:1
help-posp-gateway-limit-set-terminal = Terminal identification
help-posp-gateway-limit-set-merchant = Merchant identification: all its terminals together
help-posp-gateway-limit-set-payment = Largest single payment
help-posp-gateway-limit-set-day-sum = Most in one day
help-posp-gateway-limit-set-day-count = How many payments in one day
help-posp-gateway-limit-set-currency = Currency of the amounts
help-posp-gateway-report-transaction = Find a transaction by any of its names
    .examples =
        posp-gateway report transaction --reference 000000000017
        posp-gateway report transaction --terminal T0000001 --batch 3 --trace 42
        posp-gateway report transaction --authorisation 000017
        posp-gateway report transaction --issuer 5441504C494E4500 --card 62170000001234567890 --counter 5
        posp-gateway report transaction --sam 000000000017 --sequence 42
        posp-gateway report transaction --account bank:1 --from 2026-11-01 --to 2026-11-30
help-posp-gateway-report-transaction-reference = Retrieval reference, as on the receipt
help-posp-gateway-report-transaction-terminal = Terminal identification, with --batch and --trace
help-posp-gateway-report-transaction-batch = Batch number
help-posp-gateway-report-transaction-trace = Trace number
help-posp-gateway-report-transaction-authorisation = Authorisation code; several transactions may have the same
help-posp-gateway-report-transaction-issuer = Issuer of a card, 16 hexadecimal digits, with --card and --counter
help-posp-gateway-report-transaction-card = Serial number of a card, 20 hexadecimal digits
help-posp-gateway-report-transaction-counter = The card's counter of offline payments, or with --load of loads
help-posp-gateway-report-transaction-load = The counter is that of loads
help-posp-gateway-report-transaction-sam = SAM, 12 hexadecimal digits, with --sequence
help-posp-gateway-report-transaction-sequence = Its sequence number
help-posp-gateway-report-transaction-payer = Token of a card number, 32 hexadecimal digits
help-posp-gateway-report-transaction-account = Account that paid, such as bank:1
help-posp-gateway-report-transaction-currency = Currency of the account
help-posp-gateway-report-transaction-from = First day, YYYY-MM-DD (payer and account)
help-posp-gateway-report-transaction-to = Last day, YYYY-MM-DD (payer and account)
help-posp-gateway-report-transaction-limit = Most transactions to list
gateway-what-closed = closed account
gateway-what-released = released load of
gateway-what-limit = limits of
gateway-suffices = Yes.
gateway-suffices-not = No.
gateway-payer-added = { $pan } draws on { $account } now. Its token: { $token }
gateway-payer-existed = { $pan } draws on { $account } already. Its token: { $token }
gateway-no-limits = Nobody has a limit.
gateway-more-limits = There are more: raise --limit.
gateway-limit-none = no limit
gateway-limit-kind = kind
gateway-limit-account = account
gateway-limit-terminal = terminal
gateway-limit-merchant = merchant
gateway-limit = { $scope } { $name }: a payment { $payment }; a day { $sum }; payments a day { $count }
gateway-limit-used = used today: { $sum } in { $count } payments
gateway-no-transactions = No such transaction.
gateway-more-transactions = There are more: narrow the search, or raise --limit.
gateway-kind-balance = balance inquiry
gateway-kind-purchase = purchase
gateway-kind-void = void
gateway-kind-refund = refund
gateway-kind-load = load
gateway-kind-merchant-load = load by the merchant
gateway-kind-load-confirm = load receipt
gateway-kind-offline-records = offline payments
gateway-kind-settle = settlement
gateway-kind-upload = upload
gateway-kind-upload-end = end of upload
gateway-kind-tombstone = reversal without original
gateway-kind-pre-authorisation = pre-authorisation
gateway-kind-pre-authorisation-void = void of a pre-authorisation
gateway-kind-completion = completion
gateway-kind-completion-void = void of a completion
gateway-kind-completion-advice = completion, told afterwards
gateway-state-received = received
gateway-state-declined = declined
gateway-state-authorised = authorised
gateway-state-completed = completed
gateway-state-cleared = cleared
gateway-state-settled = settled
gateway-state-reversed = reversed
gateway-state-voided = voided
gateway-state-partly-refunded = partly refunded
gateway-state-refunded = refunded
gateway-state-disputed = disputed
gateway-state-expired = expired
