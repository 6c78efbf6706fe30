//! Objects in columns, as their definitions describe them: the columns that kubectl prints. Pure.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition as Column;
use serde_json::Value;

/// The columns of a kind, from its definition; those of priority 0 unless `is_wide`.
pub(super) fn columns(
    definition: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    is_wide: bool,
) -> Vec<Column> {
    let version = definition.spec.versions.first();
    let all = version.and_then(|version| version.additional_printer_columns.clone());
    let is_shown = |column: &Column| is_wide || column.priority.unwrap_or(0) == 0;
    all.unwrap_or_default().into_iter().filter(is_shown).collect()
}

/// One object's cells: its name, then its columns.
pub(super) fn row(name: String, object: &Value, columns: &[Column], now: Timestamp) -> Vec<String> {
    let cell = |column: &Column| {
        let found = find(object, &column.json_path);
        match (found, column.type_.as_str()) {
            (None, "date") => "<unknown>".to_owned(),
            (None, _) => String::new(),
            (Some(value), "date") => age(&value, now),
            (Some(Value::String(text)), _) => text,
            (Some(value), _) => value.to_string(),
        }
    };
    std::iter::once(name).chain(columns.iter().map(cell)).collect()
}

/// Rows below their heads, in columns three blanks apart.
pub(super) fn text(heads: &[String], rows: &[Vec<String>]) -> String {
    let all = || std::iter::once(heads).chain(rows.iter().map(Vec::as_slice));
    let width =
        |at: usize| all().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..heads.len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// The value that a printer column's path leads to: fields, and one list item by a field's value.
fn find(object: &Value, path: &str) -> Option<Value> {
    let mut value = object;
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let (condition, after) = filter.split_once(")]")?;
            let (field, wanted) = condition.split_once("==")?;
            let wanted = wanted.trim_matches('"');
            value = value.as_array()?.iter().find(|item| item[field] == wanted)?;
            rest = after;
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        value = value.get(&rest[..end])?;
        rest = &rest[end..];
    }
    Some(value.clone()).filter(|value| !value.is_null())
}

/// How long ago, as kubectl says it: `45s`, `12m`, `5h`, `3d`.
fn age(since: &Value, now: Timestamp) -> String {
    let Some(since) = since.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return "<invalid>".to_owned();
    };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use operator_api::{MqttUser, crd};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_holds_what_the_definition_names() {
        let object = json!({"metadata": {"creationTimestamp": "2026-11-22T10:00:00Z"},
            "spec": {"clusterRef": {"name": "fleet"}},
            "status": {"revision": "abc", "secretName": "a-mqtt",
                "conditions": [{"type": "Enforced", "status": "False"}, {"type": "Ready", "status": "True", "reason": "Enforced"}]}});
        let now = "2026-11-22T10:05:00Z".parse().unwrap();
        let columns = columns(&crd::<MqttUser>(), false);
        assert_eq!(
            row("a".into(), &object, &columns, now),
            ["a", "fleet", "True", "abc", "a-mqtt", "5m"]
        );
    }

    #[test]
    fn an_object_without_status_has_empty_cells() {
        let now = "2026-11-22T10:05:00Z".parse().unwrap();
        let columns = columns(&crd::<MqttUser>(), true);
        let row = row("a".into(), &json!({}), &columns, now);
        assert_eq!(row, ["a", "", "", "", "", "", "<unknown>"]);
    }

    #[test]
    fn columns_line_up() {
        let heads = ["NAME".to_owned(), "X".to_owned()];
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(text(&heads, &rows), "NAME     X\na        1\nlonger\n");
    }
}
