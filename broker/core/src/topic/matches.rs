//! Whether one filter matches one topic: the plain statement of the rules. Pure.

/// Whether `filter` (without `$share/`) matches `topic`; both must be valid.
///
/// A leading wildcard does not match a topic that starts with `$`, and `a/#` matches `a`.
/// Spec: MQTT 5.0 sections 4.7.1 and 4.7.2 [MQTT-4.7.2-1].
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for filter_level in filter.split('/') {
        match (filter_level, topic_levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (expected, Some(level)) if expected == level => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}
