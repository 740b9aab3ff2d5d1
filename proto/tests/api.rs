//! The API as its users read it, and what they may rely on: `docs/api.md` is made from the comments of the .proto files, and
//! nothing that `proto/released.txt` names has gone or become something else.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests fail by panicking")]

use cutover_proto::Code;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Numbers of `descriptor.proto` by which a comment finds its place: of a file's messages, enums and services, and of what is
/// within each of these.
const MESSAGE: i32 = 4;
const ENUM: i32 = 5;
const SERVICE: i32 = 6;
const WITHIN: i32 = 2;
const SYNTAX: i32 = 12;

struct File {
    descriptor: FileDescriptorProto,
    comments: BTreeMap<Vec<i32>, String>,
}

impl File {
    fn comment(&self, path: &[i32]) -> &str {
        self.comments.get(path).map_or("", String::as_str)
    }
    fn title(&self) -> &str {
        let name = self.descriptor.name();
        name.rsplit('/').next().unwrap_or(name)
    }
}

/// Ours, in the order in which they build on each other; what only agents speak comes last.
fn files() -> Vec<File> {
    let set = FileDescriptorSet::decode(cutover_proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours = set.file.into_iter().filter(|file| file.package() == "cutover.v1");
    let mut ours: Vec<FileDescriptorProto> = ours.collect();
    ours.sort_by_key(|file| file.name().ends_with("agent_link.proto"));
    let file = |descriptor: FileDescriptorProto| {
        let info = descriptor.source_code_info.clone().unwrap_or_default();
        let comment = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned();
        let said = info.location.into_iter().filter_map(|place| Some((place.path, comment(&place.leading_comments?))));
        File { comments: said.collect(), descriptor }
    };
    ours.into_iter().map(file).collect()
}

fn number(n: usize) -> i32 {
    i32::try_from(n).unwrap()
}

/// A field's type, as the .proto file writes it.
fn kind(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let name = || field.type_name().trim_start_matches(".cutover.v1.").trim_start_matches('.').to_owned();
    let plain = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => name(),
        other => format!("{other:?}").to_lowercase(),
    };
    let entry = message.nested_type.iter().find(|nested| {
        nested.options.as_ref().is_some_and(|options| options.map_entry()) && plain.ends_with(nested.name())
    });
    if let Some(entry) = entry {
        let of = |n: usize| kind(&entry.field[n], entry);
        return format!("map<{}, {}>", of(0), of(1));
    }
    match field.label() {
        Label::Repeated => format!("repeated {plain}"),
        Label::Optional if field.proto3_optional() => format!("optional {plain}"),
        Label::Optional | Label::Required => plain,
    }
}

fn oneof(field: &FieldDescriptorProto, message: &DescriptorProto) -> Option<String> {
    let index = field.oneof_index.filter(|_| !field.proto3_optional())?;
    Some(message.oneof_decl[usize::try_from(index).unwrap()].name().to_owned())
}

/// One line in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn service(page: &mut String, file: &File, at: usize, service: &ServiceDescriptorProto) {
    writeln!(page, "## Service {}\n\n{}\n", service.name(), file.comment(&[SERVICE, number(at)])).unwrap();
    // What stands above `syntax` is about the whole file, which has one service.
    writeln!(page, "{}\n", file.comment(&[SYNTAX])).unwrap();
    for (n, method) in service.method.iter().enumerate() {
        writeln!(page, "### {}.{}\n\n```text\n{}\n```\n", service.name(), method.name(), signature(method)).unwrap();
        writeln!(page, "{}\n", file.comment(&[SERVICE, number(at), WITHIN, number(n)])).unwrap();
    }
}

fn signature(method: &MethodDescriptorProto) -> String {
    let name = |text: &str| text.trim_start_matches(".cutover.v1.").to_owned();
    let stream = |yes: bool| if yes { "stream " } else { "" };
    format!(
        "rpc {}({}{}) returns ({}{})",
        method.name(),
        stream(method.client_streaming()),
        name(method.input_type()),
        stream(method.server_streaming()),
        name(method.output_type())
    )
}

fn message(page: &mut String, file: &File, at: usize, message: &DescriptorProto) {
    writeln!(page, "### {}\n\n{}\n", message.name(), file.comment(&[MESSAGE, number(at)])).unwrap();
    if message.field.is_empty() {
        return;
    }
    page.push_str("| field | number | type | what it says |\n|---|---|---|---|\n");
    for (n, field) in message.field.iter().enumerate() {
        let one_of = oneof(field, message).map(|name| format!("one of `{name}`: ")).unwrap_or_default();
        let said = cell(file.comment(&[MESSAGE, number(at), WITHIN, number(n)]));
        let kind = kind(field, message);
        writeln!(page, "| `{}` | {} | `{kind}` | {one_of}{said} |", field.name(), field.number()).unwrap();
    }
    page.push('\n');
}

fn enumeration(page: &mut String, file: &File, at: usize, enumeration: &EnumDescriptorProto) {
    writeln!(page, "### {}\n\n{}\n", enumeration.name(), file.comment(&[ENUM, number(at)])).unwrap();
    page.push_str("| value | number | what it says |\n|---|---|---|\n");
    for (n, value) in enumeration.value.iter().enumerate() {
        let said = cell(file.comment(&[ENUM, number(at), WITHIN, number(n)]));
        writeln!(page, "| `{}` | {} | {said} |", value.name(), value.number()).unwrap();
    }
    page.push('\n');
}

/// A gRPC code as its specification writes it, like `NOT_FOUND`.
fn constant(code: tonic::Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// What a refusal can say, for tools that act on it.
fn codes(page: &mut String) {
    page.push_str("## Refusals\n\nWhat the `reason` of a refusal's `google.rpc.ErrorInfo` can be. A newer Cutover may have more.\n\n");
    page.push_str("| reason | gRPC code | what it says, and which metadata comes with it |\n|---|---|---|\n");
    for code in Code::ALL {
        writeln!(page, "| `{code}` | {} | {} |", constant(code.grpc()), cell(code.meaning())).unwrap();
    }
    page.push('\n');
}

fn page() -> String {
    let mut page = "<!-- Made from the comments in `proto/cutover/v1`: change them there, then run `CUTOVER_WRITE_PAGES=1 cargo test \
                    -p cutover-proto --test api`. -->\n# The API\n\n`cutover.v1` over gRPC. The command line uses nothing else. \
                    A running coordinator tells all of this by server reflection as well.\n\n"
        .to_owned();
    let files = files();
    for file in &files {
        file.descriptor.service.iter().enumerate().for_each(|(n, one)| service(&mut page, file, n, one));
    }
    codes(&mut page);
    for file in &files {
        writeln!(page, "## Messages of {}\n", file.title()).unwrap();
        file.descriptor.message_type.iter().enumerate().for_each(|(n, one)| message(&mut page, file, n, one));
        file.descriptor.enum_type.iter().enumerate().for_each(|(n, one)| enumeration(&mut page, file, n, one));
    }
    page.trim_end().to_owned() + "\n"
}

fn in_repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_page_of_the_api_says_what_the_proto_files_say() {
    let path = in_repository("../docs/api.md");
    if std::env::var_os("CUTOVER_WRITE_PAGES").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page(), "docs/api.md is stale: run this with CUTOVER_WRITE_PAGES=1, and look at what changed");
}

#[test]
fn every_code_that_clients_act_on_says_what_it_means() {
    let silent: Vec<&Code> = Code::ALL.iter().filter(|code| code.meaning().is_empty()).collect();
    assert!(silent.is_empty(), "without a comment: {silent:?}");
}

#[test]
fn everything_in_the_api_says_what_it_is() {
    let mut silent = Vec::new();
    for file in files() {
        let mut ask = |path: &[i32], name: String| {
            if file.comment(path).is_empty() {
                silent.push(name);
            }
        };
        for (n, one) in file.descriptor.message_type.iter().enumerate() {
            ask(&[MESSAGE, number(n)], one.name().to_owned());
            for (m, field) in one.field.iter().enumerate() {
                ask(&[MESSAGE, number(n), WITHIN, number(m)], format!("{}.{}", one.name(), field.name()));
            }
        }
        for (n, one) in file.descriptor.service.iter().enumerate() {
            ask(&[SERVICE, number(n)], one.name().to_owned());
            for (m, method) in one.method.iter().enumerate() {
                ask(&[SERVICE, number(n), WITHIN, number(m)], format!("{}.{}", one.name(), method.name()));
            }
        }
        for (n, one) in file.descriptor.enum_type.iter().enumerate() {
            ask(&[ENUM, number(n)], one.name().to_owned());
        }
    }
    assert!(silent.is_empty(), "without a comment: {silent:?}");
}

/// What a client that was built against it relies on: each name with its number and type, a line each.
fn listing() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for File { descriptor, .. } in files() {
        for one in &descriptor.message_type {
            for field in &one.field {
                let within = oneof(field, one).map(|name| format!(" in oneof {name}")).unwrap_or_default();
                let kind = kind(field, one);
                all.insert(format!("message {}: {kind} {} = {}{within}", one.name(), field.name(), field.number()));
            }
        }
        for one in &descriptor.enum_type {
            let value = |value: &prost_types::EnumValueDescriptorProto| {
                format!("enum {}: {} = {}", one.name(), value.name(), value.number())
            };
            all.extend(one.value.iter().map(value));
        }
        for one in &descriptor.service {
            all.extend(one.method.iter().map(|method| format!("service {}: {}", one.name(), signature(method))));
        }
    }
    all
}

/// Only what is there may be added to: a field that goes or changes its number or type breaks every client that has it.
fn gone(released: &str, now: &BTreeSet<String>) -> Vec<String> {
    let promised = released.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    promised.filter(|line| !now.contains(*line)).map(str::to_owned).collect()
}

#[test]
fn nothing_of_the_last_release_has_gone_or_become_something_else() {
    let path = in_repository("released.txt");
    if std::env::var_os("CUTOVER_WRITE_RELEASED").is_some() {
        let lines: Vec<String> = listing().into_iter().collect();
        let head = "# What clients of the last release rely on. Made at a release, never between two: CUTOVER_WRITE_RELEASED=1 \
                    cargo test -p cutover-proto --test api";
        std::fs::write(&path, format!("{head}\n{}\n", lines.join("\n"))).unwrap();
    }
    let released = std::fs::read_to_string(&path).unwrap();
    assert!(released.lines().count() > 100, "it names next to nothing");
    assert_eq!(gone(&released, &listing()), Vec::<String>::new(), "keep it, and add what is new beside it");
}

#[test]
fn a_field_that_goes_changes_its_number_or_its_type_is_noticed_and_a_new_one_is_not() {
    let now = listing();
    let field = now.iter().find(|line| line.contains("message MakePlanRequest: string target = 2")).unwrap().clone();
    for other in ["string target = 9", "int64 target = 2", "string destination = 2"] {
        let mut changed = now.clone();
        changed.remove(&field);
        changed.insert(format!("message MakePlanRequest: {other}"));
        assert_eq!(gone(&field, &changed), std::slice::from_ref(&field));
    }
    let mut more = now.clone();
    more.insert("message MakePlanRequest: string more = 99".to_owned());
    assert_eq!(gone(&now.into_iter().collect::<Vec<_>>().join("\n"), &more), Vec::<String>::new());
}
