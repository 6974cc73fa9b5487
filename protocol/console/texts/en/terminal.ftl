# The terminal: help, prompts, receipts, history, doctor.

help-terminal = Takes contactless purse payments, online or not
    .examples =
        terminal init                  write a commented terminal.toml and an empty journal
        terminal doctor                check readers, SAM, clock, disk and journal
        terminal sale 12.50            take 12.50 from the next card
        terminal --json history        all payments as JSON
help-terminal-init = Write a commented configuration and an empty journal
    .examples =
        terminal init
        terminal --config /etc/tapline/terminal.toml init
        terminal init --print > compare.toml
help-terminal-init-print = Print the default configuration instead of writing it
help-terminal-balance = Show what is on the card
    .examples =
        terminal balance
        terminal --json balance --wait 5
help-terminal-balance-wait = Seconds to wait for a card
help-terminal-sale = Take an amount from a card's purse
    .examples =
        terminal sale 12.50
        terminal sale 3 --wait 60
        terminal --json sale 12.50
help-terminal-sale-amount = Amount in the terminal's currency, for example 12.50
help-terminal-sale-wait = Seconds to wait for a card
help-terminal-topup = Load an amount onto a card's purse, with its PIN
    .examples =
        terminal topup 100.00
        TAPLINE_PIN=… terminal --json topup 50
        pin-pad | terminal topup 100.00 --wait 60
help-terminal-topup-amount = Amount in the terminal's currency, for example 100.00
help-terminal-topup-wait = Seconds to wait for a card
help-terminal-upload = Send everything that waits to the acquirer's gateway
    .examples =
        terminal upload
        terminal upload --with-open
        terminal --json upload
help-terminal-upload-with-open = Also send interrupted payments whose card did not come back, as uncertain
help-terminal-settle = Send what waits, then compare the batch's totals with the gateway and close it
    .examples =
        terminal settle
        terminal --json settle
help-terminal-provision = Take the acquirer's provisioning file: identity, gateway and key
    .examples =
        terminal provision T0000001.toml
        terminal provision T0000001.toml < one-time-code
        terminal provision other.toml --replace
help-terminal-provision-file = The file that the acquirer's “terminal add” wrote; its one-time code is asked for, or read from TAPLINE_CODE
help-terminal-provision-replace = Become another terminal than before
help-terminal-history = List and search payments
    .examples =
        terminal history
        terminal history --uncertain
        terminal history 12.50 --from 2026-11-01 --limit 20
        terminal history --receipt 17
help-terminal-history-search = Text to find: an amount, the end of a card's number, a TAC, a sequence number, a date
help-terminal-history-from = First day, YYYY-MM-DD
help-terminal-history-to = Last day, YYYY-MM-DD
help-terminal-history-uncertain = Only payments whose outcome is not known
help-terminal-history-limit = Most payments to list, newest first
help-terminal-history-receipt = Show the receipt of this payment again
help-terminal-doctor = Check everything a payment needs, and say what to do
    .examples =
        terminal doctor
        terminal --json doctor
help-terminal-completions = Print the completions of a shell
    .examples =
        terminal completions bash > /etc/bash_completion.d/terminal
help-terminal-completions-shell = The shell

initialised = Wrote { $config } and the journal { $journal }.
    .next = Edit the configuration, then run “terminal doctor”.
journal-created = { $config } stayed as it is; created the journal { $journal }.
journal-there = { $config } and the journal { $journal } are already there; nothing was changed.

present-card = Present card: { $amount }
present-card-balance = Present card
present-again = That did not work, and nothing was taken. Present the card again: { $amount }
other-card = That is another card. Present the one that ends in { $card }.
present-same-card = Present the SAME card again (ends in { $card }): { $amount }
processing = Processing, hold the card still
connecting = Asking the acquirer, leave the card where it is
remove-card = Card read, remove it
recovering = The last payment of this card was interrupted: finding out whether it was taken
recovered-done = The interrupted payment of { $amount } had been taken. It is booked once, with its own time.
recovered-void = The interrupted payment of { $amount } had not been taken. It is void.
recovered-uncertain = What became of the interrupted payment of { $amount } cannot be found out. The acquirer decides.

approved = Approved: { $amount }
declined = Declined
not-taken = Not taken
uncertain = Uncertain
balance-is = Balance: { $balance } (card { $card }, valid { $from } to { $to })
balance-interrupted = A payment of this card was interrupted: its next payment here finds out what became of it.

receipt-merchant = Merchant
receipt-terminal = Terminal
receipt-date = Date
receipt-time = Time
receipt-type = Type
receipt-purchase = Purchase
receipt-amount = Amount
receipt-card = Card
receipt-tac = TAC
receipt-before = Balance before
receipt-after = Balance after
receipt-trace = Trace
receipt-sequence = Sequence
receipt-offline = Offline
receipt-approved = APPROVED
receipt-void = VOID: NOTHING TAKEN
receipt-uncertain = UNCERTAIN: ACQUIRER DECIDES
receipt-recovered = Recovered after an interruption
receipt-unverified = Proof to be checked by acquirer
receipt-copy = COPY

history-empty = No payments.
history-payment = Payment
history-date = Date and time
history-amount = Amount
history-card = Card
history-state = State
history-sequence = Sequence
history-tac = TAC
history-sum = { $count } approved, { $amount } in all; { $uncertain } uncertain.
state-approved = approved
state-recovered = approved (recovered)
state-unverified = approved (unverified)
state-void = void
state-open = interrupted
state-uncertain = uncertain

doctor-good = good
doctor-bad = WRONG
doctor-warning = note
doctor-configuration = Configuration
doctor-clock = Clock
doctor-folder = Folder
doctor-space = Disk space
doctor-journal = Journal
doctor-service = PC/SC service
doctor-readers = Readers
doctor-card = Card reader
doctor-sam = SAM
doctor-deny-list = Deny list
doctor-configuration-good = { $path }, terminal { $terminal }, { $issuers } issuer(s)
doctor-clock-good = { $date } { $time }, UTC{ $offset }
doctor-folder-good = { $path } keeps what is written (fsync in { $micros } µs)
doctor-space-good = { $free } MiB free
doctor-space-low = { $free } MiB free
    .next = Make room soon: a payment needs room for its record before it starts.
doctor-journal-good = { $entries } records intact, { $payments } payments
doctor-journal-open = { $entries } records intact; { $open } interrupted payment(s) wait for their card
    .next = Ask for the same card again, or upload them as uncertain.
doctor-service-good = running
doctor-readers-good = { $readers }
doctor-card-good = { $reader }
doctor-sam-good = { $reader }, terminal number { $number }, serial { $serial }
doctor-deny-list-good = { $cards } card(s)
doctor-skipped = not checked: { $reason }
doctor-all-good = Everything a payment needs is in order.

# The gateway: provision, topup, upload, settle.
enter-code = One-time code (not shown while you type):
enter-pin = PIN of the card (not shown while you type):
provisioned = This is terminal { $terminal } of merchant { $merchant }; its gateway is { $gateway }.
    .next = Delete the provisioning file; “terminal doctor” tries the gateway.
host-connecting = Connecting to { $gateway }
loaded = Loaded: { $amount }
receipt-load = Load
receipt-batch = Batch
receipt-reference = Reference
receipt-online = Online
receipt-loaded = LOADED
sent-reversal = reversal of load
sent-confirmation = confirmation of load
sent-payment = payment
sent-done = { $kind } { $number }, { $amount }: taken ({ $code })
sent-looked-at = { $kind } { $number }, { $amount }: taken with code { $code }; the acquirer looks at it
# Field 39 in words; $words is the code behind a c.
response-words = { $words ->
    [c03] it does not know the merchant
    [c05] do not honour
    [c12] it does not take this request
    [c13] the amount
    [c14] it does not know the card
    [c22] sign in again
    [c25] it does not have the original
    [c30] it cannot read the message
    [c41] the card is reported lost
    [c43] the card is reported stolen
    [c51] not enough money in the account
    [c54] the card has expired
    [c55] the PIN is wrong
    [c57] not permitted for this card
    [c58] not permitted at this terminal
    [c61] above the limit for one amount
    [c62] the card or account is restricted
    [c64] the amount is not the original's
    [c65] too often
    [c68] too late
    [c75] too many wrong PINs
    [c77] another batch is open: settle
    [c91] the issuer cannot be reached
    [c92] no way to the issuer
    [c94] the number was used for something else
    [c95] the batch is being reconciled: settle first
    [c96] its system failed, try again later
    [c97] it does not know this terminal
    [c98] the issuer did not answer
    [c99] the PIN was not readable
    [cA0] the proof of the message is wrong
   *[other] no words for this code
}
sent-refused = { $kind } { $number }, { $amount }: REFUSED: { response-words } (code { $code }); it still waits, ask the acquirer
sent-waits = { $kind } { $number }, { $amount }: not taken now ({ $code }); it still waits
uploaded = { $sent } sent, { $waiting } still waiting; { $open } interrupted payment(s) wait for their card.
settled-balanced = Batch { $batch } is settled: both sides counted the same.
settled-differing = Batch { $batch } is closed, but the two sides DIFFER:
settled-answer-lost = Batch { $batch } is closed; the gateway's answer got lost on the way.
settled-terminal = terminal: { $payments } payment(s) { $paid }, { $refunds } refund(s) { $refunded }, { $loads } load(s) { $loaded }
settled-gateway = gateway:  { $payments } payment(s) { $paid }, { $refunds } refund(s) { $refunded }, { $loads } load(s) { $loaded }
settled-difference =   { $kind } { $item }: terminal { $terminal }, gateway { $gateway }
settled-differences-more =   and { $more } more: the acquirer's report of the batch lists them all
settled-absent = does not have it
settled-item-payment = payment
settled-item-refund = refund
settled-item-load = load
settled-next = Batch { $batch } is open now.
settled-held = { $count } of the payments sent now wait for the acquirer's decision and are not in these totals.
settled-interrupted = { $count } interrupted payment(s) are in no batch yet: their cards decide at their next tap.
history-loads = Loads
history-load = { $number }  { $date } { $time }  { $amount }  { $card }  { $state }
history-host = Host
load-sent = asked, to be reversed
load-answered = not credited, to be reversed
load-credit-sent = interrupted
load-credited = loaded, to be confirmed
load-refused = not credited, to be reversed
load-unknown = uncertain, to be reported
load-declined = declined
load-reversed = reversed
load-confirmed = loaded
load-reported = uncertain, reported
doctor-loads = Loads
doctor-loads-good = none has waited for its card for { $hours } hours
doctor-outbox = Outbox
doctor-host = Gateway
doctor-outbox-good = nothing waits for the gateway
doctor-outbox-waits = { $reversals } reversal(s), { $confirmations } confirmation(s), { $records } payment(s) wait for the gateway
    .next = Run “terminal upload” when the network is there.
doctor-host-good = { $gateway } took the sign-in; batch { $batch } is open
doctor-host-none = not provisioned: offline payments only
    .next = Run “terminal provision FILE” with the acquirer's file to load cards, upload and settle.
