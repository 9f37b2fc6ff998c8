//! The end-to-end tests: one story per file, each on a real API server, the operator under the chart's own ServiceAccount.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod a_collector_is_not_waited_for;
mod a_collector_is_reached_through_a_proxy;
mod a_collector_proves_who_it_is;
mod a_deleted_resource_is_let_go;
mod a_failing_actor_is_restarted;
mod a_foreign_secret_is_left_alone;
mod a_hostile_namespace_hurts_nobody_else;
mod a_past_end_does_not_spin;
mod a_refresh_is_a_trace;
mod a_refusal_is_explained;
mod a_region_that_is_off_is_named;
mod a_secret_is_put_right;
mod a_session_is_as_asked_for;
mod a_silent_connection_is_noticed;
mod a_spec_change_takes_effect;
mod a_status_is_stored_whole;
mod a_stolen_token_does_no_harm;
mod a_stored_resource_is_told_its_limits;
mod a_word_deletes_no_secret;
mod a_wrong_resource_is_refused;
mod aws_is_asked_at_the_right_endpoints;
mod aws_is_away_at_start;
mod aws_is_reached_through_a_proxy;
mod aws_refuses_what_it_refuses;
mod consumers_read_their_secrets;
mod credentials_are_refreshed;
mod events_tell_the_story;
mod every_type_gives_its_secret;
mod hostile_resources_hurt_nobody;
mod logins_are_found_by_those_who_read_them;
mod minted_credentials_are_kept;
mod no_secret_is_anywhere_else;
mod registries_are_logged_in_to;
mod sdks_never_use_expired_credentials;
mod the_cluster_is_reached_through_a_proxy;
mod the_definition_is_current;
mod the_operator_finds_its_identity;
mod the_operator_is_measured;
mod the_operator_starts_again;
mod the_operators_identity_changes;
mod the_predecessors_are_taken_over;
mod the_readme_is_true;
mod two_replicas_take_turns;
mod what_somebody_touched_heals_for_good;
