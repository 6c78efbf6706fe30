use broker_policy::{PolicyChange, Record, Settings};

use super::*;
use crate::cluster_state::RetainedLimits;

fn batch(commands: &[Command]) -> CommandBatch {
    let items: Vec<_> = commands.iter().map(|command| command.encode().unwrap()).collect();
    CommandBatch::new(RetainedLimits::default(), &items)
}

fn change(state: &ClusterState) -> PolicyChange {
    let settings = Settings { anonymous_group: Some("guests".into()), ..Settings::default() };
    state.policy().change(vec![Record::Settings(settings)], Vec::new()).unwrap()
}

#[test]
fn a_policy_change_is_applied_once_and_a_second_time_changes_nothing() {
    let mut state = ClusterState::default();
    let change = change(&state);
    let entry = batch(&[Command::ApplyPolicy(change.clone())]);
    let first = state.apply(1, &entry).unwrap();
    assert_eq!(first.outcomes, [Outcome::PolicyApplied { revision: change.to }]);
    assert_eq!(first.effects.len(), 1);
    assert_eq!(state.policy().revision(), change.to);
    let again = state.apply(2, &entry).unwrap();
    assert_eq!(again.outcomes, [Outcome::PolicyApplied { revision: change.to }]);
    assert!(again.effects.is_empty());
}

#[test]
fn a_policy_change_from_another_revision_conflicts_and_names_the_current_one() {
    let mut state = ClusterState::default();
    let late = change(&state);
    let first =
        state.policy().change(vec![Record::Settings(Settings::default())], Vec::new()).unwrap();
    state.apply(1, &batch(&[Command::ApplyPolicy(first.clone())])).unwrap();
    let applied = state.apply(2, &batch(&[Command::ApplyPolicy(late)])).unwrap();
    assert_eq!(applied.outcomes, [Outcome::PolicyConflict { current: first.to }]);
    assert_eq!(state.policy().revision(), first.to);
}

#[test]
fn a_batch_of_a_newer_version_or_with_an_unknown_command_is_not_applied() {
    let mut state = ClusterState::default();
    let known = batch(&[Command::ApplyPolicy(change(&state))]);
    let mut newer = known.as_bytes().to_vec();
    newer[0] = 2;
    let error = state.apply(1, &CommandBatch::from_bytes(newer.into())).unwrap_err();
    assert_eq!(error, CommandError::NewerVersion { found: 2 });
    let mut unknown = known.as_bytes().to_vec();
    unknown.extend_from_slice(&[99, 0, 0, 0, 0]);
    let error = state.apply(1, &CommandBatch::from_bytes(unknown.into())).unwrap_err();
    assert_eq!(error, CommandError::UnknownKind { kind: 99 });
    assert_eq!(state.policy().revision(), Policy::default().revision());
}

#[test]
fn a_cut_batch_is_an_error_at_every_length() {
    let state = ClusterState::default();
    let whole = batch(&[Command::ApplyPolicy(change(&state))]).as_bytes().clone();
    // The header alone is an empty batch.
    for length in (0..whole.len()).filter(|length| *length != 17) {
        let cut = CommandBatch::from_bytes(whole.slice(..length));
        assert!(cut.decode().is_err(), "{length} bytes");
    }
}
