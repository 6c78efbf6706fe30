//! `[[durability_rules]]`, `[[rewrites]]` and `[[auto_subscriptions]]`, checked. Pure.

use crate::error::ConfigError;
use crate::features::{AutoSubscription, DurabilityRule, Rewrite};
use crate::raw_features::{RawAutoSubscription, RawDurabilityRule, RawRewrite};
use crate::validate_features::FeatureError;

/// Each is looked at for each topic.
const REWRITES_MAX: usize = 100;
/// Each is looked at once for each topic.
const DURABILITY_RULES_MAX: usize = 100;
/// Each is one of every client's subscriptions.
const AUTO_SUBSCRIPTIONS_MAX: usize = 32;
/// Leaves the rest of a topic's 65,535 bytes to what wildcards match.
const TEXT_BYTES_MAX: usize = 1024;

fn too_many(what: &'static str, count: usize, max: usize) -> Result<(), ConfigError> {
    if count <= max { Ok(()) } else { Err(FeatureError::TooMany { what, count, max }.into()) }
}

pub(crate) fn durability_rules(
    raw: &[RawDurabilityRule],
) -> Result<Vec<DurabilityRule>, ConfigError> {
    too_many("durability_rules", raw.len(), DURABILITY_RULES_MAX)?;
    let rule = |(index, raw): (usize, &RawDurabilityRule)| match wildcards(&raw.filter)
        .filter(|_| !raw.filter.starts_with("$share/"))
    {
        Some(_) => Ok(DurabilityRule { filter: raw.filter.clone(), durability: raw.durability }),
        None => {
            let value = raw.filter.clone();
            Err(FeatureError::DurabilityFilter { index, value }.into())
        }
    };
    raw.iter().enumerate().map(rule).collect()
}

pub(crate) fn rewrites(raw: &[RawRewrite]) -> Result<Vec<Rewrite>, ConfigError> {
    too_many("rewrites", raw.len(), REWRITES_MAX)?;
    raw.iter().enumerate().map(|(index, raw)| rewrite(index, raw)).collect()
}

fn rewrite(index: usize, raw: &RawRewrite) -> Result<Rewrite, ConfigError> {
    let RawRewrite { action, source, destination } = raw;
    let wildcards = wildcards(source).filter(|_| !source.starts_with("$share/"));
    let Some(wildcards) = wildcards else {
        return Err(FeatureError::RewriteSource { index, value: source.clone() }.into());
    };
    let is_topic = !destination.is_empty()
        && destination.len() <= TEXT_BYTES_MAX
        && !destination.contains(['+', '#'])
        && !destination.chars().any(char::is_control)
        && !destination.starts_with("$share/");
    if !is_topic || highest_reference(destination) > wildcards {
        let value = destination.clone();
        return Err(FeatureError::RewriteDestination { index, value, wildcards }.into());
    }
    Ok(Rewrite { action: *action, source: source.clone(), destination: destination.clone() })
}

/// The greatest N of `$1` to `$9`; 0 where there is none.
fn highest_reference(destination: &str) -> usize {
    let after = destination.split('$').skip(1);
    let numbers = after.filter_map(|text| text.chars().next()?.to_digit(10));
    numbers.max().unwrap_or(0) as usize
}

/// How many wildcards a topic filter holds; `None` for what is none.
fn wildcards(filter: &str) -> Option<usize> {
    if filter.is_empty() || filter.len() > TEXT_BYTES_MAX || filter.chars().any(char::is_control) {
        return None;
    }
    let levels: Vec<&str> = filter.split('/').collect();
    let (last, before) = levels.split_last()?;
    let is_plain = |level: &str| level == "+" || !level.contains(['+', '#']);
    let is_valid = before.iter().all(|level| is_plain(level)) && (*last == "#" || is_plain(last));
    is_valid.then(|| levels.iter().filter(|level| matches!(**level, "+" | "#")).count())
}

pub(crate) fn auto_subscriptions(
    raw: &[RawAutoSubscription],
) -> Result<Vec<AutoSubscription>, ConfigError> {
    too_many("auto_subscriptions", raw.len(), AUTO_SUBSCRIPTIONS_MAX)?;
    raw.iter().enumerate().map(|(index, raw)| auto_subscription(index, raw)).collect()
}

fn auto_subscription(
    index: usize,
    raw: &RawAutoSubscription,
) -> Result<AutoSubscription, ConfigError> {
    let shared = raw.filter.strip_prefix("$share/");
    let filter = match shared.map(|rest| rest.split_once('/')) {
        None => Some(raw.filter.as_str()),
        Some(Some((name, filter))) if !name.is_empty() && !name.contains(['+', '#']) => {
            Some(filter)
        }
        Some(_) => None,
    };
    if filter.and_then(wildcards).is_none() {
        let value = raw.filter.clone();
        return Err(FeatureError::AutoSubscriptionFilter { index, value }.into());
    }
    if raw.qos > 2 {
        return Err(FeatureError::AutoSubscriptionQos { index, value: raw.qos }.into());
    }
    if shared.is_some() && raw.no_local {
        return Err(FeatureError::SharedNoLocal { index }.into());
    }
    Ok(AutoSubscription {
        filter: raw.filter.as_str().into(),
        qos: raw.qos,
        no_local: raw.no_local,
        retain_as_published: raw.retain_as_published,
        send_retained: raw.send_retained,
    })
}
