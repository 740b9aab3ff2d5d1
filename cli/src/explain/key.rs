//! Keys of a settings file, out of the JSON Schema of the structs that read it.

use serde::Serialize;
use serde_json::Value;

/// One table of a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// As it is headed in the file: `[limits]`, `[[instance]]`; empty for the keys outside any table.
    pub heading: String,
    /// What it is about.
    pub what: String,
    /// Its keys: those that must be there first.
    pub keys: Vec<Key>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// With its table: `instance.command`.
    pub path: String,
    /// Without: `command`.
    pub name: String,
    /// What its value is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What a number counts, where its name says it.
    pub unit: Option<&'static str>,
    /// Whether the program refuses a file without it.
    pub required: bool,
    /// What holds where it is left away, in words or as it would be written; none: nothing.
    pub default: Option<String>,
    /// What it does.
    pub what: String,
    /// A line that could stand in the file.
    pub example: String,
}

impl Key {
    /// Type, unit and default, in one line.
    pub fn facts(&self) -> String {
        let unit = self.unit.map(|unit| format!(" of {unit}")).unwrap_or_default();
        let default = match (&self.default, self.required) {
            (_, true) => "required".to_owned(),
            (Some(default), false) => format!("default {default}"),
            (None, false) => "no default".to_owned(),
        };
        format!("{}{unit}; {default}", self.kind)
    }
}

/// Every table of the settings that a schema describes.
pub fn tables(schema: &Value) -> Vec<Table> {
    let mut tables = Vec::new();
    table("", "", schema, &mut tables);
    tables
}

/// Adds a table, then those in it.
fn table(name: &str, heading: &str, schema: &Value, to: &mut Vec<Table>) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = || schema["properties"].as_object().into_iter().flatten();
    // Those that must be there stand in the order of the struct, which the schema keeps.
    let rank = |name: &str| required.iter().position(|one| *one == name).unwrap_or(required.len());
    let mut keys: Vec<Key> = properties()
        .filter(|(_, schema)| below(schema).is_none())
        .map(|(key, schema)| read(name, key, schema, required.contains(&key.as_str())))
        .collect();
    keys.sort_by_key(|key| rank(&key.name));
    to.push(Table { heading: heading.to_owned(), what: words(&schema["description"]), keys });
    for (key, schema) in properties() {
        let path = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        if let Some((inner, listed)) = below(schema) {
            let heading = if listed { format!("[[{path}]]") } else { format!("[{path}]") };
            let mut inner = inner.clone();
            // What the table is for stands where it is a key; what one of it is, at the struct.
            inner["description"] = schema["description"].clone();
            table(&path, &heading, &inner, to);
        }
    }
}

/// The table that a key holds, and whether there may be several.
fn below(schema: &Value) -> Option<(&Value, bool)> {
    let has_keys = |schema: &&Value| schema["properties"].is_object();
    Some((schema, false)).filter(|(schema, _)| has_keys(schema)).or_else(|| {
        let items = &schema["items"];
        has_keys(&items).then_some((items, true))
    })
}

fn read(table: &str, name: &str, schema: &Value, required: bool) -> Key {
    let default = schema["x-default"].as_str().map(str::to_owned).or_else(|| {
        let empty = |value: &Value| {
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(|it| it.is_empty())
        };
        schema
            .get("default")
            .filter(|value| !value.is_null() && !empty(value))
            .map(|value| format!("`{}`", toml(value)))
    });
    Key {
        path: if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") },
        name: name.to_owned(),
        kind: kind(schema),
        unit: ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}"))),
        required,
        default,
        what: words(&schema["description"]),
        example: schema["examples"].get(0).map(|value| format!("{name} = {}", toml(value))).unwrap_or_default(),
    }
}

fn kind(schema: &Value) -> String {
    if let Some(format) = schema["format"].as_str().filter(|format| format.contains("path")) {
        return format.to_owned();
    }
    let types = &schema["type"];
    // An optional key is of its type, or null, which TOML does not have.
    let one = types.as_str().or_else(|| types.as_array()?.iter().filter_map(Value::as_str).find(|one| *one != "null"));
    let of = |schema: &Value| match kind(schema).as_str() {
        "number" => "numbers".to_owned(),
        "text" => "texts".to_owned(),
        other => other.to_owned(),
    };
    match one {
        Some("string") => "text".to_owned(),
        Some("integer" | "number") => "number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") => format!("list of {}", of(&schema["items"])),
        Some("object") => format!("table of {}", of(&schema["additionalProperties"])),
        Some(other) => other.to_owned(),
        None => "value".to_owned(),
    }
}

/// A doc comment as one line of text.
fn words(text: &Value) -> String {
    text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value as it is written in a settings file.
fn toml(value: &Value) -> String {
    match value {
        // The only difference that matters between JSON and TOML: a table in a line has `=`.
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(name, value)| format!("{name} = {}", toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
