//! One suite for every store: what a store promises, and what each engine adds.
//!
//! `conformance!(name, Subject)` makes every test of the suite for one store. A new engine needs a
//! [`subject::Subject`] and that line, and nothing else.

// A module of the one test binary; what is `pub` here is for the other modules of it.
#![allow(unreachable_pub)]

mod broken_disk;
mod conformance;
mod crash;
mod disk;

pub mod faulty;

mod golden;
mod model;
mod sqlite;
pub mod subject;

/// Every test of the suite, as tests of the module `$name`, each on a fresh store of `$subject`.
macro_rules! conformance {
    ($name:ident, $subject:ty) => {
        conformance! { @tests $name, $subject,
            a_loaded_row_is_the_row_that_was_put
            a_load_answers_in_the_order_asked
            a_load_takes_at_most_a_thousand_keys
            an_id_has_at_most_300_bytes
            a_body_has_at_most_256_kibibytes
            a_scan_walks_ids_in_the_order_of_their_bytes
            a_scan_takes_prefixes_as_bytes
            the_pages_of_a_scan_meet_without_gap_or_overlap
            a_scan_may_go_on_after_an_id_that_is_gone
            limits_of_pages_are_from_one_to_a_thousand
            rows_are_due_from_their_millisecond_on_the_longest_overdue_first
            a_row_is_due_as_it_was_last_put
            revisions_are_dense_and_shared_by_the_rows_of_a_commit
            a_commit_needs_its_expected_revisions
            a_commit_needs_its_expected_absences
            a_lost_race_changes_nothing
            a_commit_of_nothing_is_refused
            a_commit_that_changes_a_row_twice_is_refused
            a_commit_has_at_most_a_thousand_writes
            a_commit_has_at_most_two_thousand_expectations
            a_commit_has_at_most_16_mebibytes_of_bodies
            a_refused_commit_takes_no_revision
            a_put_over_a_tombstone_makes_the_row_anew
            a_tombstone_of_nothing_is_told_too
            a_row_of_a_newer_format_is_told_but_never_changed
            e01_tenants_and_kinds_never_see_each_others_rows
            g02_no_update_is_lost_between_concurrent_writers
            a_load_never_sees_half_a_commit
            every_commit_is_told_once_and_in_order
            a_page_of_changes_never_cuts_a_commit
            a_row_is_told_at_its_latest_change_only
            a_follower_that_pages_during_writes_ends_with_the_same_rows
            an_old_cursor_expires_once_tombstones_are_pruned
            a_cursor_ahead_of_the_head_is_expired
            pruning_keeps_up_when_fewer_tombstones_are_kept
            a_wait_ends_when_something_is_committed
            a_wait_ends_at_once_when_there_is_something_already
            a_wait_ends_by_itself_within_its_bound
            the_clock_is_the_one_passed_in
            status_tells_the_head
            everything_is_there_after_closing_and_opening
            a_dropped_call_leaves_a_whole_commit_or_none
        }
    };
    (@tests $name:ident, $subject:ty, $($test:ident)*) => {
        mod $name {
            use super::conformance;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    conformance::$test::<$subject>().await;
                }
            )*

            #[test]
            fn random_operations_agree_with_a_plain_map() {
                super::model::random_operations_agree_with_a_plain_map::<$subject>();
            }
        }
    };
}

conformance!(memory, super::subject::MemorySubject);
conformance!(faultless, super::subject::FaultySubject);
conformance!(sqlite_file, super::subject::SqliteSubject);
