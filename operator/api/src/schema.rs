//! Schemas of single fields: bounds and the CEL rules that go with them. Pure.
//!
//! The API server prices a CEL rule by the largest object the schema admits, so each string, list
//! and map here has a bound. A rule's message says what to change.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The longest topic filter that an ACL rule may hold, in characters.
pub(crate) const TOPIC_LENGTH_MAX: u32 = 512;

fn string(length_min: u32, length_max: u32, rules: &[(&str, &str)]) -> Schema {
    let mut schema = json_schema!({ "type": "string", "maxLength": length_max });
    if length_min > 0 {
        schema.insert("minLength".into(), json!(length_min));
    }
    if !rules.is_empty() {
        let rules: Vec<Value> =
            rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect();
        schema.insert("x-kubernetes-validations".into(), json!(rules));
    }
    schema
}

fn list(item: Schema, items_max: u32) -> Schema {
    json_schema!({ "type": "array", "items": item, "maxItems": items_max })
}

/// A string of at most `MAX` characters.
pub(crate) fn bounded<const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    string(0, MAX, &[])
}

/// The name of a Kubernetes object.
pub(crate) fn name(_: &mut SchemaGenerator) -> Schema {
    string(1, 253, &[])
}

/// A broker version.
pub(crate) fn version(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        64,
        &[(
            r"self.matches('^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$')",
            "version must have three numbers, as in 0.1.0 or 0.2.0-rc.1",
        )],
    )
}

/// A duration as Kubernetes writes it, such as `90m` or `168h`.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        32,
        &[(
            "self.matches('^([0-9]+(h|m|s))+$')",
            "must be a duration of whole hours, minutes and seconds, as in 168h, 90m or 10s",
        )],
    )
}

/// The lifetime of a certificate: a duration from an hour to ten years.
pub(crate) fn lifetime(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        32,
        &[(
            "self.matches('^([0-9]{1,6}(h|m|s))+$') && duration(self) >= duration('1h') && \
             duration(self) <= duration('87600h')",
            "must be a duration from 1h to 87600h (ten years), as in 2160h",
        )],
    )
}

/// An amount of bytes as a Kubernetes quantity, such as `64Ki`.
pub(crate) fn bytes(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        24,
        &[(
            "self.matches('^[0-9]{1,15}(k|M|G|T|Ki|Mi|Gi|Ti)?$')",
            "must be a whole number of bytes, as in 65536, 64Ki, 10M or 1Gi",
        )],
    )
}

/// The size of a volume: an amount of bytes that never shrinks.
pub(crate) fn volume_size(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = bytes(generator);
    let rules = schema.ensure_object().get_mut("x-kubernetes-validations");
    if let Some(Value::Array(rules)) = rules {
        rules.push(json!({
            "rule": "!isQuantity(self) || quantity(self).compareTo(quantity('64Mi')) >= 0",
            "message": "storage size must be at least 64Mi",
        }));
        rules.push(json!({
            "rule": "!isQuantity(self) || quantity(self).compareTo(quantity(oldSelf)) >= 0",
            "message": "storage grows and never shrinks: set the size to what it was or more",
        }));
    }
    schema
}

/// An image repository without tag and digest.
pub(crate) fn image_repository(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        255,
        &[(
            "self.matches('^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$')",
            "repository must be an image name without tag and digest: the tag is spec.version, the \
             digest goes into image.digest",
        )],
    )
}

/// The digest of an image.
pub(crate) fn image_digest(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        71,
        &[("self.matches('^sha256:[0-9a-f]{64}$')", "digest must be sha256: and 64 hex digits")],
    )
}

/// The additional names of a server certificate.
pub(crate) fn subject_alt_names(_: &mut SchemaGenerator) -> Schema {
    let item = string(
        1,
        253,
        &[(
            r"self.matches('^(\\*\\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$') || isIP(self)",
            "must be a DNS name, a DNS name with a leading *. or an IP address",
        )],
    );
    list(item, 64)
}

/// A name of an MQTT user.
pub(crate) fn username(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        128,
        &[
            (
                r"!self.matches('[\\x00-\\x1f\\x7f-\\x{9f}]')",
                "username must not contain control characters",
            ),
            (
                "!self.contains('+') && !self.contains('#')",
                "username must not contain + or #, which are wildcards where a rule says %u",
            ),
            (
                "!self.startsWith('dunlin:') && !self.startsWith('$')",
                "usernames that start with dunlin: or $ are the system's own: choose another",
            ),
        ],
    )
}

const GROUP_RULE: (&str, &str) = (
    r"self.matches('^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$')",
    "a group's name consists of letters, digits and . _ : - and starts and ends with a letter or \
     digit",
);

/// The name of a group.
pub(crate) fn group(_: &mut SchemaGenerator) -> Schema {
    string(1, 63, &[GROUP_RULE])
}

/// A list of groups.
pub(crate) fn groups(_: &mut SchemaGenerator) -> Schema {
    let mut schema = list(string(1, 63, &[GROUP_RULE]), 64);
    schema.insert("x-kubernetes-list-type".into(), json!("set"));
    schema
}

/// The client ids that a user may take.
pub(crate) fn client_ids(_: &mut SchemaGenerator) -> Schema {
    let item = string(
        1,
        256,
        &[
            (
                r"!self.matches('[\\x00-\\x1f\\x7f-\\x{9f}]')",
                "a client id must not contain control characters",
            ),
            (
                r"!self.matches('\\*.')",
                "in a client id * stands only at the end, for any continuation",
            ),
        ],
    );
    list(item, 64)
}

const NO_CONTROL_CHARACTERS: (&str, &str) =
    (r"!self.matches('[\\x00-\\x1f\\x7f-\\x{9f}]')", "a topic must not contain control characters");

const WHOLE_LEVELS: (&str, &str) = (
    r"self.matches('^(([^/+#]*|\\+)/)*([^/+#]*|\\+|#)$')",
    "in a topic + and # must be a whole level, and # the last one, as in a/+/b or a/#",
);

/// The topic filters of one ACL rule.
///
/// Spec: MQTT 5.0 section 4.7.1 [MQTT-4.7.1-1] [MQTT-4.7.1-2].
pub(crate) fn topics(_: &mut SchemaGenerator) -> Schema {
    let item = string(
        1,
        TOPIC_LENGTH_MAX,
        &[
            NO_CONTROL_CHARACTERS,
            WHOLE_LEVELS,
            (
                "!self.matches('[^/]%[uc]|%[uc][^/]')",
                "in a topic %u and %c must be a whole level, as in fleet/%u/telemetry",
            ),
            (
                r"!self.matches('^\\$(SYS|CONTROL)(/|$)')",
                "topics below $SYS and $CONTROL can't be granted here: they are the broker's own",
            ),
            (
                r"!self.startsWith('$share/')",
                "write the topic without $share/<group>/: a shared subscription needs the right to \
                 its filter",
            ),
        ],
    );
    let mut schema = list(item, 32);
    schema.insert("minItems".into(), json!(1));
    schema
}

/// The topic filter of a durability rule.
///
/// Spec: MQTT 5.0 section 4.7.1 [MQTT-4.7.1-1] [MQTT-4.7.1-2].
pub(crate) fn topic_filter(_: &mut SchemaGenerator) -> Schema {
    string(
        1,
        TOPIC_LENGTH_MAX,
        &[
            NO_CONTROL_CHARACTERS,
            WHOLE_LEVELS,
            (
                r"!self.startsWith('$share/')",
                "write the filter without $share/<group>/: the rule is for what is published",
            ),
        ],
    )
}

/// Labels: at most 32.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// Annotations: at most 32.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    })
}

/// A list of label values.
pub(crate) fn label_values(_: &mut SchemaGenerator) -> Schema {
    list(string(0, 63, &[]), 32)
}

/// Amounts of resources by name.
pub(crate) fn resource_amounts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "x-kubernetes-int-or-string": true },
    })
}

/// An object that the operator reads by itself and the schema leaves open.
pub(crate) fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
