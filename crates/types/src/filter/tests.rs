use proptest::prelude::*;

use super::*;

/// Objects with a name, another field and labels; the filters of containerd's clients ask for such.
struct Object {
    name: &'static str,
    other: &'static str,
    labels: Labels,
}

impl Fields for Object {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name"] => Some(self.name.into()),
            ["other"] => Some(self.other.into()).filter(|other: &Cow<'_, str>| !other.is_empty()),
            ["labels", key @ ..] => self.labels.field(key),
            _ => None,
        }
    }
}

fn objects() -> Vec<Object> {
    let object = |name, other, labels: &[(&str, &str)]| Object {
        name,
        other,
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    vec![
        object("alpine", "", &[("tier", "web")]),
        object("busybox", "two words, and a comma", &[]),
        object("caddy", "docker.io/library/caddy:2", &[("tier", ""), ("with space", "x")]),
        object("debian", "12.5", &[("containerd.io/gc.root", "now"), ("a\"b\\c", "odd")]),
    ]
}

/// The names' first letters of what matches.
fn found(filters: &[&str]) -> String {
    let filters = Filters::parse(filters).unwrap();
    objects().iter().filter(|object| filters.matches(*object)).filter_map(|object| object.name.chars().next()).collect()
}

#[test]
fn what_each_filter_finds() {
    for (filter, expected) in [
        ("", "abcd"),
        ("name", "abcd"),
        ("other", "bcd"),
        ("nothing", ""),
        ("labels.tier", "ac"),
        ("labels.tier,other", "c"),
        ("labels.tier==web", "a"),
        ("labels.tier!=web", "bcd"),
        ("labels.tier==\"\"", "c"),
        ("labels.tier~=/.*/", "abcd"),
        ("labels.tier~=/./", "a"),
        ("other!=\"\"", "bcd"),
        ("name==busybox", "b"),
        ("name!=busybox,name!=caddy", "ad"),
        (" name == busybox", "b"),
        ("name==busybox, other", "b"),
        ("other==\"two words, and a comma\"", "b"),
        ("other==docker.io/library/caddy:2", "c"),
        ("other==12.5", "d"),
        ("other~=[0-9]+", "cd"),
        ("other~=^[0-9.]+$", "d"),
        ("other~=/^[0-9.]{2,4}$/,name==debian", "d"),
        ("other~=|^docker.io/|", "c"),
        ("other~=/^docker.io\\/library/", "c"),
        ("other~=\"^\\\\d+\\\\.\\\\d$\"", "d"),
        ("other~=\"\\x31\\062\\u002e\\U00000035\"", "d"),
        ("labels.\"with space\"", "c"),
        ("labels.\"containerd.io/gc.root\"==now", "d"),
        ("labels.\"containerd.io/gc\".root==now", "d"),
        ("labels.\"a\\\"b\\\\c\"==odd", "d"),
        ("\"name\"==alpine", "a"),
        ("name==no,name", ""),
    ] {
        assert_eq!(found(&[filter]), expected, "{filter}");
    }
}

#[test]
fn one_of_several_filters_must_match() {
    assert_eq!(found(&[]), "abcd");
    assert_eq!(found(&["name==alpine", "name==debian"]), "ad");
    assert_eq!(found(&["name==alpine", ""]), "abcd");
}

#[test]
fn what_the_clients_of_containerd_send() {
    let event = FieldsFn(|path: &[&str]| match path {
        ["namespace"] => Some("moby".to_owned()),
        ["topic"] => Some("/tasks/exit".to_owned()),
        _ => None,
    });
    for filter in
        ["namespace==moby,topic~=|^/tasks/|", "topic==\"/tasks/exit\"", "topic~=\"/tasks/\"", "topic~=/\\/tasks\\//"]
    {
        assert!(Filters::parse(&[filter]).unwrap().matches(&event), "{filter}");
    }
}

#[test]
fn errors_say_where() {
    for (filter, position, reason) in [
        ("name==a,", 8, "expected a field"),
        (",name", 0, "expected a field"),
        ("labels.", 7, "expected a field"),
        ("labels.?\"a\"==b", 7, "expected a field"),
        ("é", 0, "expected a field"),
        (" ", 1, "expected a field"),
        ("labels.|foo|==a", 7, "may be quoted"),
        ("name==|a|", 6, "may be quoted"),
        ("name=a", 4, "none of the operators"),
        ("name===a", 4, "none of the operators"),
        ("name a", 5, "one of the operators"),
        ("name ", 5, "one of the operators"),
        ("name==", 6, "expected a value"),
        ("image~=,id?=?x", 7, "expected a value"),
        ("name==.a", 6, "expected a value"),
        ("name~=.*", 6, "expected a value"),
        ("name==a b", 7, "unexpected ' '"),
        ("\"é\"==\"a", 5, "does not end"),
        ("name==\"a\nb\"", 6, "does not end"),
        ("name==\"\\q\"", 7, "escape"),
        ("name==\"\\\"", 6, "does not end"),
        ("name==\"\\777\"", 7, "escape"),
        ("name==\"\\uD800\"", 7, "escape"),
        ("name==\"\\xff\"", 6, "no UTF-8"),
        ("name~=\"\\d\"", 7, "escape"),
        ("name==\"\0\"", 7, "null"),
        ("name~=/[/", 6, "regular expression"),
        ("name~=/(a{1000}){1000}/", 6, "regular expression"),
    ] {
        let error = Filters::parse(&["name", filter]).unwrap_err();
        assert_eq!((error.position, error.filter.as_str()), (position, filter), "{error}");
        assert!(error.reason.contains(reason), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn a_long_filter_is_refused_without_repeating_it() {
    let error = Filters::parse(&["a".repeat(MAX_BYTES + 1)]).unwrap_err();
    assert!(error.to_string().len() < 500, "{error}");
    assert!(Filters::parse(&["a".repeat(MAX_BYTES)]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_can_be_asked_for_in_quotes(key in "[^\0=]{0,12}", value in "[^\0]{0,12}") {
        let quote = |text: &str| {
            text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
        };
        let filter = format!("\"{}\"==\"{}\"", quote(&key), quote(&value));
        let object = Labels::from([(key, value.clone())]);
        prop_assert!(Filters::parse(&[&filter]).unwrap().matches(&object));
        let other = filter.replacen("\"==\"", "\"!=\"", 1);
        prop_assert!(!Filters::parse(&[other]).unwrap().matches(&object));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z.,=!~\"/|\\\\x0-9 é]{0,24}") {
        let _ = Filters::parse(&[text]);
    }
}
