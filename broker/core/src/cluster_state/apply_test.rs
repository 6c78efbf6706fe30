use broker_policy::{PolicyChange, Record, Settings};

use super::*;
use crate::cluster_state::testing::{read, written};
use crate::cluster_state::{
    CLUSTER_SECRET_BYTES, ClusterSecret, FEATURE_LEVEL_FIRST, FEATURE_LEVEL_MAX, RetainedLimits,
};

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

/// What is in the log of a running cluster must stay readable: these bytes are never changed.
#[test]
fn a_batch_keeps_its_form() {
    use crate::codec::packet::{Publish, PublishProperties};
    use crate::retained::{RetainedChange, RetainedMessage};
    use crate::types::{Millis, QoS};

    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "a/b",
        packet_id: crate::types::PacketId::new(1),
        properties: PublishProperties::default(),
        payload: b"xyz",
    };
    let message = RetainedMessage::new(&publish, Millis(300)).unwrap();
    let commands = [
        Command::Retain(RetainedChange { topic: "a/b".into(), message: Some(message) }),
        Command::Retain(RetainedChange { topic: "c".into(), message: None }),
        Command::ExpireRetained { now: Millis(5), messages_max: 7 },
    ];
    let limits = RetainedLimits { messages_max: 1, bytes_max: 2 };
    let items: Vec<_> = commands.iter().map(|command| command.encode().unwrap()).collect();
    let batch = CommandBatch::new(limits, &items);
    let hex: String = batch.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "01",
        "0100000000000000",
        "0200000000000000",
        "02",
        "15000000",
        "03612f62",
        "01",
        "0101ac02",
        "0b",
        "30090003612f620078797a",
        "02",
        "03000000",
        "0163",
        "00",
        "03",
        "0c000000",
        "0500000000000000",
        "07000000",
    ];
    assert_eq!(hex, expected.concat());
    assert_eq!(batch.decode().unwrap(), (limits, commands.to_vec()));
}

#[test]
fn the_first_secret_stays_and_goes_along_with_a_snapshot() {
    let secret = |byte| ClusterSecret([byte; CLUSTER_SECRET_BYTES]);
    let mut state = ClusterState::default();
    let without = written(&state);
    for byte in [1, 2] {
        let entry = batch(&[Command::SetSecret(secret(byte))]);
        assert_eq!(state.apply(byte.into(), &entry).unwrap().outcomes, [Outcome::SecretSet]);
        assert_eq!(state.secret().get(), Some(&secret(1)));
    }
    let with = written(&state);
    let mut other = ClusterState::default();
    let reader = Arc::clone(other.secret());
    other.install(read(without).unwrap());
    assert_eq!(reader.get(), None);
    other.install(read(with.clone()).unwrap());
    assert_eq!(reader.get(), Some(&secret(1)));
    assert!(read(with.slice(..20)).is_err());
    assert!(!format!("{:?}", Command::SetSecret(secret(77))).contains("77"));
}

#[test]
fn a_snapshot_of_the_first_feature_level_is_as_it_was_before_there_were_levels() {
    let written = written(&ClusterState::default());
    assert_eq!(written[..2], [3, 0], "the version that has no level, and no secret");
    let mut state = ClusterState::default();
    state.install(read(written).unwrap());
    assert_eq!(state.feature_level(), FEATURE_LEVEL_FIRST);
}

#[test]
fn a_feature_level_rises_never_falls_and_goes_along_with_a_snapshot() {
    let mut state = ClusterState::default();
    let raise = |level| batch(&[Command::RaiseFeatureLevel { level }]);
    let applied = state.apply(1, &raise(FEATURE_LEVEL_MAX)).unwrap();
    assert_eq!(applied.outcomes, [Outcome::FeatureLevel { level: FEATURE_LEVEL_MAX }]);
    assert!(matches!(applied.effects[..], [Effect::FeatureLevelRaised { .. }]));
    let again = state.apply(2, &raise(FEATURE_LEVEL_FIRST)).unwrap();
    assert_eq!(again.outcomes, [Outcome::FeatureLevel { level: FEATURE_LEVEL_MAX }]);
    assert!(again.effects.is_empty());
    let mut other = ClusterState::default();
    let written = written(&state);
    assert_eq!(written[..3], [4, FEATURE_LEVEL_MAX as u8, 0]);
    other.install(read(written).unwrap());
    assert_eq!(other.feature_level(), FEATURE_LEVEL_MAX);
}

#[test]
fn a_level_that_this_broker_does_not_know_is_refused_with_both_levels_named() {
    let level = FEATURE_LEVEL_MAX + 1;
    let both = |text: String| {
        assert!(text.contains(&format!("level {level}")), "{text}");
        assert!(text.contains(&format!("up to {FEATURE_LEVEL_MAX}: run a newer one")), "{text}");
    };
    let entry = batch(&[Command::RaiseFeatureLevel { level }]);
    both(ClusterState::default().apply(1, &entry).unwrap_err().to_string());
    let snapshot = [&[4][..], &level.to_le_bytes(), &[0; 16]].concat();
    both(read(snapshot.into()).unwrap_err().to_string());
}
