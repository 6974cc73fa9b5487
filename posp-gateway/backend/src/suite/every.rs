//! The tests that every store passes. Included by path where a store needs more than this crate has (`tests/tests/postgres_suite.rs`).

/// Hands the names of all tests, and of more, to a macro that makes `#[test]` functions of them.
macro_rules! every_test {
    ($with:ident $($more:tt)*) => {
        $with! {
            day::a_purchase_is_held_settled_and_refunded_in_parts_but_never_beyond
            day::a_repeat_is_answered_as_before_and_other_content_is_refused
            day::strangers_and_wrong_batches_are_refused_with_their_codes
            day::a_reversal_frees_the_money_once_and_a_late_original_is_declined
            day::a_void_frees_the_money_and_its_reversal_takes_it_back
            day::totals_that_agree_close_the_batch_and_others_lead_to_a_report
            day::operators_requests_are_idempotent
            preauthorisation::a_completion_takes_a_part_releases_the_rest_and_happens_once
            preauthorisation::a_completion_may_exceed_what_was_held_by_the_tolerance_and_only_if_funds_allow
            preauthorisation::a_pre_authorisation_outlives_its_batch_and_any_terminal_of_the_merchant_completes_it
            preauthorisation::a_completion_that_names_nothing_of_this_card_is_refused
            preauthorisation::after_its_time_the_money_is_free_and_a_completion_finds_nothing
            preauthorisation::a_void_of_a_pre_authorisation_frees_the_money_and_its_reversal_takes_it_back
            preauthorisation::a_reversed_pre_authorisation_is_over_and_a_late_one_is_declined
            preauthorisation::a_voided_completion_leaves_the_pre_authorisation_standing
            preauthorisation::a_reversed_completion_never_was
            preauthorisation::a_completion_taken_back_when_the_money_is_gone_leaves_nothing_held
            preauthorisation::an_advice_completes_and_is_taken_back_by_a_refund_alone
            refunds::what_was_taken_back_or_never_paid_is_not_refunded
            search::a_transaction_is_found_by_every_name_it_has
            search::a_payers_transactions_of_a_span_of_time_are_found_in_order
            privacy::a_partner_learns_whether_an_amount_suffices_and_nothing_else
            privacy::nothing_that_a_merchant_reads_names_a_payer_an_account_or_a_balance
            limits::amount_sum_and_count_are_refused_with_their_codes_and_a_new_day_begins_anew
            limits::who_is_not_there_has_no_limit
            limits::a_void_gives_back_and_its_reversal_counts_again_beyond_the_limit
            limits::a_load_counts_for_its_payer_until_its_money_is_free_again
            cards::a_load_is_held_confirmed_by_the_card_and_posted_once
            cards::a_reversed_load_stays_disputed_until_the_card_speaks
            cards::a_load_request_at_the_same_counter_releases_the_one_before
            cards::a_load_that_a_stale_request_released_is_booked_by_the_cards_proof
            cards::a_load_confirmed_after_its_release_is_paid_by_the_payer_or_the_issuer
            cards::a_released_load_is_booked_when_the_cards_counter_shows_its_credit
            cards::a_load_request_that_is_not_the_cards_own_is_refused
            cards::a_load_by_cash_is_owed_by_the_merchant
            cards::offline_records_are_booked_once_whoever_brings_them
            cards::a_tampered_record_is_refused_and_does_not_take_the_number
            cards::a_record_that_nobody_proved_yields_its_number_to_the_one_that_the_card_did
            cards::a_cloned_card_is_found_both_merchants_are_paid_and_it_is_denied
            cards::records_of_an_unknown_sam_are_held_until_it_is_registered
            cards::an_uncertain_debit_becomes_done_void_or_is_decided_by_the_chain
            cards::the_audit_finds_a_balance_that_loads_do_not_explain
            cards::suite_00_works_the_same
            key_versions::what_is_right_under_another_versions_keys_than_the_cards_proves_nothing
            key_versions::what_was_held_for_a_wrongly_registered_card_is_booked_when_it_is_put_right
            key_versions::a_card_that_nobody_registered_has_the_keys_of_its_first_record
            chain::a_proof_after_policy_has_paid_another_is_paid_and_the_issuer_bears_the_excess
            chain::the_proof_of_a_debit_that_policy_paid_pays_nothing_more_and_counts_in_its_batch
            chain::uncertain_debits_in_a_row_are_decided_together_and_what_is_not_shown_stays_open
            chain::a_person_decides_what_the_chain_leaves_open
            chain::the_deny_list_has_versions_and_keeps_who_was_on_it
            chain::a_gap_is_told_after_its_time_and_closed_by_the_late_record
            chain::records_weeks_late_are_credited_to_the_merchant_of_their_time_in_the_window_of_today
            together::a_debit_proved_in_a_batch_is_not_decided_once_more_in_it
            together::a_card_whose_gap_is_told_keeps_what_the_same_batch_did_to_it
            together::a_proof_that_waits_for_its_key_is_not_replaced_by_a_record_without_one
            together::a_proved_record_of_suite_00_takes_its_number_from_one_with_its_own_tac
            $($more)*
        }
    };
}
