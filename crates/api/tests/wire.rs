//! `proto/` says what the wire facts under `proto/wire/` say: every message, field number, type and method, both ways.

// A test fails by a panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// Packages that `proto/` has and the wire facts, which are containerd's own, have not.
const BESIDE: &[&str] = &["google.rpc", "grpc.health.v1"];

/// What is compared: one fact a line.
type Facts = BTreeSet<String>;

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

#[test]
fn the_proto_files_say_what_the_wire_says() {
    let (ours, theirs) = (ours(), theirs());
    assert!(theirs.len() > 1000, "only {} facts were read: the reader of proto/wire is broken", theirs.len());
    let invented: Vec<_> = ours.difference(&theirs).collect();
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(
        invented.is_empty() && missing.is_empty(),
        "in proto/ but not on the wire: {invented:#?}\non the wire but not in proto/: {missing:#?}"
    );
}

#[test]
fn a_wrong_number_is_a_difference() {
    let right = facts_of_text("package a\nmessage M\n  1\tname\tstring\n");
    let wrong = facts_of_text("package a\nmessage M\n  2\tname\tstring\n");
    assert_ne!(right, wrong);
    assert!(right.contains("field a.M 1 name string"));
}

/// The facts under `proto/wire/`.
fn theirs() -> Facts {
    let mut facts = Facts::new();
    for file in ["containerd-api.txt", "cgroup-metrics.txt"] {
        let text = std::fs::read_to_string(proto().join("wire").join(file)).unwrap();
        facts.extend(facts_of_text(&text));
    }
    facts
}

fn facts_of_text(text: &str) -> Facts {
    let (mut facts, mut package, mut scope) = (Facts::new(), String::new(), (String::new(), String::new()));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(row) = line.strip_prefix("  ") {
            // What is deprecated is on the wire all the same.
            let row = row.trim_end_matches(" deprecated").replace('\t', " ");
            facts.insert(format!("{} {} {row}", scope.0, scope.1));
        } else if let Some((kind, name)) = line.split_once(' ') {
            match kind {
                "package" => package = name.to_owned(),
                "message" => scope = ("field".into(), format!("{package}.{name}")),
                "enum" => scope = ("value".into(), format!("{package}.{name}")),
                "service" => scope = ("method".into(), name.to_owned()),
                _ => {}
            }
        }
    }
    facts
}

/// The facts of the `.proto` files.
fn ours() -> Facts {
    let mut files = Vec::new();
    collect(&proto(), &mut files);
    let set = protox::compile(&files, [proto()]).unwrap();
    let mut facts = Facts::new();
    for file in set.file.iter().filter(|file| ours_to_compare(file.package())) {
        facts_of_file(file, &mut facts);
    }
    facts
}

fn ours_to_compare(package: &str) -> bool {
    !package.starts_with("google.protobuf") && !BESIDE.contains(&package)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
}

fn facts_of_file(file: &FileDescriptorProto, facts: &mut Facts) {
    let package = file.package();
    for message in &file.message_type {
        facts_of_message(package, message, facts);
    }
    for values in &file.enum_type {
        facts_of_enum(package, values, facts);
    }
    for service in &file.service {
        for method in &service.method {
            let side = |stream: bool, name: &str| {
                format!("{}{}", if stream { "stream " } else { "" }, name.trim_start_matches('.'))
            };
            let input = side(method.client_streaming(), method.input_type());
            let output = side(method.server_streaming(), method.output_type());
            facts.insert(format!("method {package}.{} {} {input} -> {output}", service.name(), method.name()));
        }
    }
}

fn facts_of_enum(scope: &str, values: &EnumDescriptorProto, facts: &mut Facts) {
    for value in &values.value {
        facts.insert(format!("value {scope}.{} {} {}", values.name(), value.number(), value.name()));
    }
}

fn facts_of_message(scope: &str, message: &DescriptorProto, facts: &mut Facts) {
    let name = format!("{scope}.{}", message.name());
    for field in &message.field {
        facts.insert(format!("field {name} {} {} {}", field.number(), field.name(), type_of(field, message)));
    }
    for nested in message.nested_type.iter().filter(|nested| !is_map_entry(nested)) {
        facts_of_message(&name, nested, facts);
    }
    for values in &message.enum_type {
        facts_of_enum(&name, values, facts);
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

/// A field's type in the words of the wire facts: `map<string, string>`, `repeated uint64`, `containerd.types.Mount`.
fn type_of(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        is_map_entry(nested) && field.type_name().ends_with(&format!(".{}.{}", message.name(), nested.name()))
    });
    if let Some(entry) = entry {
        let part = |index: usize| entry.field.get(index).map(scalar).unwrap_or_default();
        return format!("map<{}, {}>", part(0), part(1));
    }
    match field.label() {
        Label::Repeated => format!("repeated {}", scalar(field)),
        _ if field.proto3_optional() => format!("optional {}", scalar(field)),
        _ => scalar(field),
    }
}

fn scalar(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}
