//! What every store must do, case by case, in the words of the specification.
//!
//! [`conformance!`](crate::conformance!) turns all cases into tests of one store; it is not possible to
//! take only some of them. A case gets an empty store in a world whose time stands still.

mod arriving;
mod blocked;
mod bounds;
mod foreseeing;
mod handing_over;
mod layout;
mod leases;
mod limits;
mod namespaces;
mod nested;
mod probing;
mod records;
mod remains;
mod repeats;
mod schedules;
mod slots;
mod stage;
mod takeovers;
mod word;
mod worlds;

use std::sync::Arc;

use flowlock::store::memory::TestWorld;

use crate::Subject;
pub use stage::{Actor, Request, Stage};
pub use takeovers::a_pause_begins_with_the_first_step_that_might_grant;

/// Lists the cases once, for the table and for the macro that makes tests of them. A case that is
/// missing here is dead code, which the compiler reports. `$d` is a dollar sign for the inner macro.
macro_rules! cases {
    (($d:tt) $($chapter:ident: $($case:ident,)+;)+) => {
        const CASES: &[(&str, fn(&Stage))] = &[$($((stringify!($case), $chapter::$case as fn(&Stage)),)+)+];

        /// Makes a test of every case. The argument makes an empty store in a given world:
        /// `conformance!(Subject::memory);`
        #[macro_export]
        macro_rules! conformance {
            ($d make:expr) => {
                $($(
                    #[test]
                    fn $case() {
                        ::flowlock_testkit::conformance::perform(stringify!($case), $d make);
                    }
                )+)+
            };
        }
    };
}

cases! { ($)
    arriving:
        a_request_for_nothing_is_granted_at_once,
        free_names_are_granted_in_the_acquire_itself,
        an_input_must_have_been_written,
        readers_share_and_a_writer_is_alone,
        locks_need_no_record_and_leave_none,
        a_name_both_read_and_written_is_held_alone_and_must_exist,
        the_same_word_in_three_spaces_is_three_names,
        all_names_are_granted_or_none,
        conflicting_runs_are_served_in_the_order_of_arrival,
        runs_that_do_not_conflict_pass_freely,
        a_reader_waits_behind_a_waiting_writer,
        a_writer_waits_behind_a_waiting_reader,
        an_awaiting_run_reserves_nothing,
        a_try_obeys_the_queue_and_never_enters_it,
        a_refused_try_says_when_the_first_deadline_in_its_way_is,
        an_output_that_exists_refuses_for_good,
        an_output_that_exists_refuses_even_while_an_input_is_missing,
        the_step_that_writes_refuses_waiting_runs_that_may_not_overwrite,
        a_wait_ends_when_its_time_is_over,
        a_run_that_awaits_becomes_queued_with_the_place_its_arrival_earned,
        a_queued_run_goes_back_when_its_input_is_removed_and_those_behind_move_up,
        a_queued_run_goes_back_when_its_input_expires,
    ;
    slots:
        units_are_granted_up_to_the_capacity,
        the_smallest_capacity_anybody_states_counts,
        units_queued_ahead_count_so_that_a_big_request_is_not_starved,
        the_capacity_stated_by_those_ahead_counts,
        the_units_of_all_who_are_queued_ahead_count,
        lapsed_units_are_taken_oldest_first_and_only_until_it_fits,
        a_dead_holder_behind_many_living_ones_makes_room_for_a_newcomer,
        a_waiter_is_told_of_all_holders_whom_to_probe_and_of_the_first_deadline,
    ;
    probing:
        a_waiter_of_a_slot_looks_at_its_holders_though_another_waits_ahead,
        who_takes_its_place_in_line_is_told,
        the_next_in_line_is_told_when_the_one_ahead_leaves,
        readers_are_not_told_of_a_reader_ahead_who_leaves,
        who_was_passed_by_a_child_of_the_holder_is_told_when_the_holder_leaves,
        the_next_in_line_is_told_of_who_takes_its_place_ahead,
        a_writer_is_told_of_all_readers_once_it_is_the_next,
        who_stays_behind_the_same_runs_is_not_told,
        whoever_comes_back_to_a_held_place_finds_that_the_holder_is_dead,
        a_held_place_outlives_the_process_that_asked_for_it,
        a_dead_process_ahead_is_found_when_a_run_behind_it_is_looked_at,
        a_step_finds_the_dead_in_the_way_of_many_runs,
        what_a_step_may_probe_counts_for_all_the_runs_it_looks_at,
    ;
    foreseeing:
        who_is_behind_a_held_place_begins_when_it_ends,
        a_try_behind_a_held_place_is_told_to_come_back_at_its_end,
        who_is_behind_a_held_place_is_told_if_it_is_to_end_sooner,
        who_is_behind_a_run_begins_when_its_wait_ends,
        a_process_sees_to_the_ends_of_its_own_waits,
        who_is_behind_a_silent_process_begins_when_it_is_given_up,
        who_is_behind_a_grant_begins_when_it_can_be_claimed_no_more,
        who_is_behind_a_grant_is_told_if_its_lease_ends_sooner,
        who_is_behind_a_holder_begins_when_its_longest_run_time_is_over,
        who_is_behind_a_revoked_holder_begins_when_its_lease_ends,
        a_reader_in_line_looks_when_its_input_expires_and_those_behind_it_begin,
        nobody_looks_for_a_held_place_whose_input_expires_but_who_is_behind_it,
        a_reader_in_line_is_told_of_a_record_that_expires_sooner,
    ;
    nested:
        a_child_that_wants_what_its_parent_holds_is_refused_at_once,
        a_child_that_awaits_what_its_parent_will_write_is_refused_at_once,
        a_child_that_awaits_what_its_lapsed_parent_will_write_is_refused_too,
        a_child_behind_one_who_waits_for_its_parent_is_refused_at_once,
        a_grandchild_is_refused_for_its_grandparent,
        a_try_is_busy_not_deadlocked,
        an_unrelated_run_waits_where_a_child_would_be_refused,
        a_child_shares_what_its_parent_shares_past_a_waiting_writer,
        naming_a_parent_without_its_proof_makes_nobody_its_child,
        an_exclusive_child_has_no_such_privilege,
        the_privilege_lasts_while_the_parent_is_lapsed_and_ends_when_it_is_revoked,
        slots_deadlock_only_if_the_capacity_cannot_hold_parent_and_child,
        units_of_all_ancestors_count_together,
        the_smallest_capacity_that_an_ancestor_states_counts_for_a_deadlock,
        whoever_may_leave_makes_no_deadlock_on_slots,
        a_lapsed_ancestor_makes_no_deadlock_on_slots,
        an_ancestor_whose_lapse_is_left_over_makes_no_deadlock_on_slots,
        a_lost_parent_does_not_end_its_children,
        a_deadlock_that_arises_later_ends_by_its_time,
    ;
    leases:
        a_refresh_restarts_the_lease,
        a_lapsed_run_that_nobody_needs_goes_on_late,
        who_unlocks_or_ends_a_run_by_hand_is_written_down,
        who_makes_and_removes_records_by_hand_is_written_down,
        a_lapsed_run_that_nobody_needs_ends_by_itself_after_a_day,
        each_run_is_kept_for_as_long_as_it_said_itself,
        an_unclaimed_grant_that_nobody_needs_ends_by_itself_after_a_day,
        a_late_run_whose_process_is_gone_ends_at_once,
        a_lapsed_run_is_lost_in_the_step_that_grants_a_conflicting_run,
        a_lost_claim_is_never_retaken,
        a_request_that_is_not_granted_takes_nothing,
        a_lapsed_run_blocks_nobody,
        the_holders_own_late_step_grants_the_waiting_first,
        a_commit_needs_the_right_nonce,
        a_grant_that_was_not_claimed_cannot_commit,
        a_longest_run_time_caps_renewal,
        past_its_longest_run_time_nothing_is_renewed,
        tokens_rise_even_if_the_wall_clock_goes_back,
        one_refresh_serves_many_runs,
        a_detached_run_is_operated_by_its_id_alone,
        a_revoked_run_blocks_until_it_acknowledges,
        a_revoked_run_whose_process_dies_was_broken_all_the_same,
        a_revoked_run_ends_at_its_lease_end,
        unlock_ends_at_once_what_does_not_run,
        unlock_needs_the_token_of_the_grant,
        a_dead_process_frees_its_names_when_it_is_found,
        a_living_process_is_not_buried,
    ;
    handing_over:
        a_commit_hands_over_in_the_same_step,
        every_way_to_free_names_hands_over,
        a_handed_over_run_must_claim_before_it_runs,
        only_the_run_that_got_the_names_is_woken,
        a_waiter_silent_for_ten_seconds_reserves_nothing,
        a_process_that_asks_for_something_else_is_heard,
        a_heartbeat_keeps_its_place_and_names_silent_runs_without_reviving_them,
        a_heartbeat_speaks_of_a_thousand_runs_and_says_where_to_go_on,
        a_heartbeat_explains_the_sixteen_runs_it_asks_about_and_no_other,
        a_silent_run_resumes_its_ticket_when_it_asks_again,
        a_silent_run_without_a_limit_is_given_up_after_ten_minutes_and_one_with_a_limit_at_its_end,
        a_grant_must_be_claimed_within_ten_seconds_of_the_last_sign_of_life,
        an_unclaimed_grant_goes_back_to_its_ticket_when_somebody_else_is_granted,
        a_late_claim_succeeds_if_nobody_needed_the_names,
        a_late_claim_asks_again_while_older_work_is_left_over,
        a_held_place_reserves_to_its_end_and_each_return_renews_it,
        a_grant_to_a_held_place_is_claimed_by_coming_back,
        a_held_place_ends_by_itself,
        a_process_that_has_its_liveness_lock_later_is_found_dead_all_the_same,
        a_cancelled_waiter_makes_room,
        an_absent_run_that_may_not_overwrite_is_refused_when_it_comes_back,
    ;
    records:
        a_commit_writes_every_output_in_the_version_of_its_grant,
        a_failed_run_writes_nothing_and_leaves_evidence,
        a_run_that_was_never_written_for_leaves_its_failure_as_evidence,
        a_reader_sees_versions_and_notes_of_its_inputs,
        a_record_names_what_it_was_made_from,
        a_record_expires,
        a_record_whose_time_is_up_is_shown_as_written_nowhere_before_any_step,
        a_record_written_anew_for_ever_outlives_the_time_of_the_old_one,
        a_record_that_expires_after_the_grant_does_not_stop_the_run,
        create_writes_by_hand_and_starts_who_awaited_it,
        a_name_that_is_given_twice_is_created_once,
        create_and_remove_are_refused_while_the_name_is_held,
        a_removal_takes_only_the_names_that_it_removes,
        create_and_remove_take_nothing_from_one_living_reader_behind_many_dead_ones,
        create_and_remove_bury_the_dead_in_several_steps,
        by_force_they_break_many_holders_in_several_steps,
        by_force_they_break_the_holder_first,
        remove_ignores_the_queue,
        an_incomplete_record_lets_nobody_in_until_the_next_commit,
        a_run_given_back_is_no_failure_and_leaves_the_record_as_it_was,
        a_takeover_itself_spoils_no_record,
        readers_in_line_go_back_when_a_rewrite_begins,
    ;
    blocked:
        each_kind_of_blocker_names_who_is_behind_it,
        a_waiting_run_is_told_its_position,
        an_absent_run_is_shown_as_absent,
        who_holds_a_place_is_told_when_to_come_back,
        ten_blockers_are_named_and_the_rest_is_more,
        the_oldest_waiter_alone_is_told_when_to_look_again,
        who_is_ahead_at_a_slot_with_room_is_no_blocker,
        whom_a_child_may_pass_is_no_blocker_of_it,
        a_blocker_whose_process_is_gone_is_shown_as_gone,
        who_waits_in_no_line_is_found_by_each_name_it_asks_for,
        of_many_who_wait_in_no_line_a_page_names_some_and_says_that_there_may_be_more,
    ;
    repeats:
        a_repeated_request_gets_the_current_state,
        a_process_that_comes_for_the_run_of_a_dead_one_continues_it,
        neither_of_two_processes_ends_the_run_they_share_by_its_death,
        a_process_that_comes_for_an_unlocked_run_is_told_so,
        nobody_is_the_process_of_a_detached_run,
        the_same_attempt_with_another_body_is_refused,
        a_living_run_id_belongs_to_its_first_attempt,
        a_finished_run_id_may_be_used_again,
        a_repeated_commit_gets_the_same_answer,
        what_is_done_by_hand_again_leaves_what_was_written_since,
        what_is_done_by_hand_again_is_done_if_nothing_was_written_since,
        a_request_that_arrives_after_its_latest_arrival_is_refused,
        a_latest_arrival_is_at_most_five_minutes_ahead,
        a_request_cancelled_before_it_arrives_is_never_granted,
        outcomes_are_remembered_for_ten_minutes,
        a_cancel_after_the_start_changes_nothing,
    ;
    schedules:
        slots_do_not_starve_a_big_request,
        a_committed_input_activates_everybody_before_a_newcomer_decides,
        a_late_holder_asks_again_while_older_work_is_left_over,
        work_is_done_by_ticket_over_all_names,
        a_stuck_thread_does_not_hold_a_grant_for_ever,
        a_dead_waiter_delays_a_bystander_by_at_most_fifteen_seconds,
        a_held_place_is_not_overtaken_while_it_is_silent,
        an_incomplete_record_can_be_repaired_by_a_run_that_may_not_overwrite,
        a_run_granted_but_never_claimed_spoils_nothing,
        a_delayed_duplicate_is_no_zombie_grant,
        a_record_may_expire_between_hand_over_and_claim,
        a_lapsed_parent_keeps_the_privilege_for_its_child,
        what_is_freed_while_other_work_is_left_over_is_handed_over_too,
    ;
    bounds:
        a_step_looks_at_sixty_four_waiting_runs_lowest_ticket_first,
        a_step_looks_at_two_thousand_claims,
        a_step_handles_sixty_four_due_deadlines,
        a_step_handles_deadlines_of_two_thousand_claims,
        a_step_ends_sixty_four_lapsed_holders_and_the_waiting_run_begins_behind_the_last,
        a_step_ends_lapsed_holders_of_two_thousand_claims,
        a_try_goes_on_until_the_last_lapsed_holder_has_ended,
        lapsed_units_are_taken_in_several_steps,
        whoever_comes_back_late_is_not_taken_though_others_were,
        a_step_gives_back_the_names_of_sixty_four_late_holders,
        a_step_takes_sixty_four_runs_of_a_silent_process_out_of_line,
        a_heartbeat_explains_runs_of_two_thousand_claims_in_the_order_asked,
        a_page_shows_runs_of_two_thousand_claims,
        a_step_forgets_two_hundred_and_fifty_six_outcomes,
        nothing_new_is_decided_while_work_is_left_over,
        later_steps_of_any_kind_continue_what_is_left_over,
        an_expired_record_lets_nobody_in_while_its_end_is_left_over,
        an_input_that_had_expired_stays_so_though_the_clock_goes_back_before_its_end_is_written,
        a_run_is_not_granted_while_the_end_of_its_wait_is_left_over,
        a_late_holder_asks_again_while_older_deadlines_are_left_over,
    ;
    limits:
        a_request_counts_until_its_latest_arrival_and_its_refusal_is_remembered_as_long,
        a_withdrawn_request_is_remembered_for_five_minutes_at_most,
        only_the_nearest_ancestors_count,
        whether_there_are_more_blockers_is_said_whatever_they_are,
        whoever_makes_a_record_by_hand_is_told_of_ten_holders_and_whether_there_are_more,
        a_step_that_just_handled_as_many_deadlines_as_it_may_decides_all_the_same,
        what_is_due_is_handled_oldest_first_whatever_it_is,
        a_page_of_names_is_cut_before_it_shows_too_much,
        each_of_many_explained_runs_is_told_of_its_share_of_those_in_its_way,
    ;
    namespaces:
        an_empty_namespace_is_removed_and_goes_on_where_it_was,
        tokens_of_a_namespace_made_anew_rise_over_a_reboot,
        a_namespace_that_nobody_used_is_not_there_and_not_made,
        what_is_in_use_is_not_removed,
        a_withdrawn_request_on_its_way_keeps_its_namespace,
        a_large_namespace_is_removed_in_many_small_steps,
    ;
    worlds:
        namespaces_do_not_touch,
        everything_is_there_again_after_a_crash,
        a_reboot_voids_every_grant_and_keeps_every_record,
        what_was_remembered_over_a_reboot_is_forgotten_though_nothing_else_happens,
        a_wall_clock_that_was_set_back_makes_no_reboot_one_of_another_host,
        tokens_rise_over_a_reboot,
        outcomes_are_remembered_for_ten_minutes_from_a_reboot_on,
        two_hosts_are_not_taken_for_a_reboot,
        the_wall_clock_touches_no_lease,
        a_step_under_a_clock_that_no_machine_can_have_changes_nothing,
        what_is_seen_says_what_the_stores_clock_said,
        a_page_is_one_snapshot_with_its_sequence_number,
        a_page_of_runs_can_be_of_one_job,
        a_page_that_is_too_large_is_cut_and_says_where_the_next_one_begins,
    ;
}

/// Returns a line for each row of a store after a fixed history with a little of everything. Randomness
/// and the machine do not matter, so the lines change only if the layout or the history does.
pub fn layout(make: impl Fn(Arc<TestWorld>) -> Subject) -> Vec<String> {
    let stage = Stage::new(make(Arc::new(TestWorld::default())));
    layout::play(&stage);
    stage.rows()
}

/// Performs one case on an empty store. Once everything is over, the store must contain only records.
pub fn perform(case: &str, make: impl Fn(Arc<TestWorld>) -> Subject) {
    let (_, body) = CASES.iter().find(|(name, _)| *name == case).expect("the case is in the table");
    let stage = Stage::new(make(Arc::new(TestWorld::default()))).with_own_processes();
    body(&stage);
    remains::are_records_alone(&stage);
}
