//! The language, what it means, and the columns against documents read one by one.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::column::{Column, encode};
use super::*;
use crate::bitmap::Bitmap;
use crate::error::Error;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        (-3i32..4).prop_map(|n| Value::Number(Number::new(f64::from(n) / 2.0).unwrap())),
        "[ab]{0,2}|\\PC{0,3}|[\"\\\\`]".prop_map(|string| Value::from(string.as_str())),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        4 => "[a-d]".prop_map(|name| Field::new([name])),
        1 => Just(Field::new(["o", "a"])),
        1 => prop_oneof![Just("in"), Just("a b"), Just("`"), Just("ü-1_x"), Just("")].prop_map(|name| Field::new([name])),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let comparison = prop::sample::select(Comparison::ALL.map(|(comparison, _)| comparison).to_vec());
    let leaf = prop_oneof![
        4 => (field(), comparison, value()).prop_map(|(field, comparison, value)| Filter::Compare(field, comparison, value)),
        1 => (field(), prop::collection::vec(value(), 0..4)).prop_map(|(field, list)| Filter::In(field, list)),
        1 => (field(), prop::collection::vec(value(), 0..3)).prop_map(|(field, list)| Filter::All(field, list)),
        1 => (field(), "[ab]{0,2}|\\PC").prop_map(|(field, part)| Filter::Contains(field, part)),
        1 => (field(), "[ab]{0,2}|\\PC").prop_map(|(field, start)| Filter::StartsWith(field, start)),
        1 => field().prop_map(Filter::Missing),
    ];
    leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

/// Metadata with the fields above, of every kind and shape.
pub(crate) fn metadata() -> impl Strategy<Value = String> {
    let scalar = value().prop_map(|value| value.to_string()).boxed();
    let list = prop::collection::vec(prop_oneof![4 => scalar.clone(), 1 => Just("null".to_owned())], 0..4)
        .prop_map(|list| format!("[{}]", list.join(",")));
    let json =
        prop_oneof![4 => scalar, 2 => list, 1 => Just("null".to_owned()), 1 => Just("{\"a\":1}".to_owned())]
            .boxed();
    let key = prop_oneof![6 => "[a-d]", 1 => Just("in".to_owned()), 1 => Just("a b".to_owned())];
    let pairs = prop::collection::vec((key, json.clone()), 0..4);
    (pairs, prop::option::of(json)).prop_map(|(pairs, inner)| {
        let mut pairs: Vec<String> = pairs.iter().map(|(key, json)| format!("{key:?}: {json}")).collect();
        pairs.extend(inner.map(|inner| format!("\"o\": {{\"a\": {inner}}}")));
        format!("{{{}}}", pairs.join(", "))
    })
}

proptest! {
    /// A filter that is written and parsed is the same again. Only a list of one filter becomes that filter.
    #[test]
    fn display_is_parsed(filter in filter()) {
        let text = filter.to_string();
        let again: Filter = text.parse().unwrap();
        prop_assert_eq!(again.to_string(), again.to_string().parse::<Filter>().unwrap().to_string());
        prop_assert_eq!(simple(&again), simple(&filter), "{}", text);
    }

    /// The rows of the columns are those whose metadata match one by one.
    #[test]
    fn columns_equal_documents(filter in filter(), rows in prop::collection::vec(metadata(), 0..150)) {
        let columns: HashMap<Field, std::sync::Arc<Column>> = filter
            .fields()
            .into_iter()
            .map(|field| {
                let pairs = rows.iter().zip(0..).flat_map(|(metadata, row)| {
                    field.values(&serde_json::from_str(metadata).unwrap()).into_iter().map(move |value| (value, row))
                });
                (field.clone(), {
                    let bytes = encode(pairs.collect());
                    let all = 0..bytes.len();
                    std::sync::Arc::new(Column::open(std::sync::Arc::new(bytes), all).unwrap())
                })
            })
            .collect();
        let found = filter.rows(rows.len() as u32, &|field| columns[field].clone());
        let expected: Bitmap = (0..).zip(&rows).filter(|(_, row)| filter.matches(row)).map(|(row, _)| row).collect();
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    }

    /// Any text is read or refused with a column that is in it.
    #[test]
    fn any_text_is_survived(text in "[a-z0-9 ().,=<>!\\[\\]\"`\\\\-]{0,40}|\\PC{0,20}") {
        match text.parse::<Filter>() {
            Ok(filter) => drop(filter.matches("{}")),
            Err(Error::InvalidFilter { column, .. }) => prop_assert!(column <= text.chars().count() + 1),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Without lists of one filter, and with the words for lists of none.
fn simple(filter: &Filter) -> Filter {
    match filter {
        Filter::And(parts) if parts.is_empty() => {
            Filter::Not(Box::new(Filter::In(Field::new(["_"]), vec![])))
        }
        Filter::Or(parts) if parts.is_empty() => Filter::In(Field::new(["_"]), vec![]),
        Filter::And(parts) | Filter::Or(parts) if parts.len() == 1 => simple(&parts[0]),
        Filter::And(parts) => Filter::And(parts.iter().map(simple).collect()),
        Filter::Or(parts) => Filter::Or(parts.iter().map(simple).collect()),
        Filter::Not(part) => Filter::Not(Box::new(simple(part))),
        other => other.clone(),
    }
}

#[test]
fn what_filters_mean() {
    let document = json!({
        "year": 2015, "price": 2.5, "source": "pubmed", "retracted": false, "free": true, "tags": ["a", "b", 7, null, ["c"]],
        "none": null, "empty": [], "journal": {"name": "X", "year": 1999}, "in": 1, "a b": 2, "big": 9007199254740993u64,
        "word": "2015",
    })
    .to_string();
    for (filter, expected) in [
        ("year == 2015", true),
        ("year == 2015.0", true),
        ("year != 2015", false),
        ("year > 2015", false),
        ("year >= 2015", true),
        ("year < 2015.5 and year > 2014", true),
        ("price <= 2.5", true),
        ("big == 9007199254740993", true),
        ("big == 9007199254740992", false),
        // Kinds do not mix.
        ("year == \"2015\"", false),
        ("word == 2015", false),
        ("word > 3", false),
        ("word >= \"2015\" and word < \"3\"", true),
        ("free > false", true),
        // Lists.
        ("tags == \"a\"", true),
        ("tags == 7", true),
        ("tags != \"a\"", false),
        ("tags != \"z\"", true),
        ("tags == \"c\"", false),
        ("tags in [\"z\", \"b\"]", true),
        ("tags not in [\"z\", \"b\"]", false),
        ("tags in []", false),
        ("tags > \"a\"", true),
        ("tags < \"b\" and tags > \"a\"", true),
        // What is not there.
        ("missing == 1", false),
        ("missing != 1", true),
        ("not missing == 1", true),
        ("missing not in [1]", true),
        ("missing", false),
        ("none == 1", false),
        ("empty == 1", false),
        ("journal == \"X\"", false),
        ("missing is missing", true),
        ("none is missing and empty is missing and journal is missing", true),
        ("year is missing", false),
        ("year is not missing", true),
        // Parts of strings, and whole lists.
        ("source contains \"ubm\"", true),
        ("source contains \"UBM\"", false),
        ("tags contains \"b\"", true),
        ("year contains \"20\"", false),
        ("source starts with \"pub\"", true),
        ("source starts with \"ub\"", false),
        ("tags all [\"a\", 7]", true),
        ("tags all [\"a\", \"z\"]", false),
        ("year all []", true),
        ("missing all [1]", false),
        // Objects, names, words.
        ("journal.year == 1999 and journal . name == \"X\"", true),
        ("journal.name.more == 1", false),
        ("`in` == 1 and `a b` == 2", true),
        // Booleans and order.
        ("free", true),
        ("retracted", false),
        ("not retracted", true),
        ("not retracted and free or year == 1", true),
        ("year == 1 or not free and free", false),
        ("free or free and retracted", true),
        ("(free or free) and retracted", false),
        ("not (free and not retracted)", false),
        ("not not free", true),
        ("source==\"p\\u0075bmed\"", true),
    ] {
        assert_eq!(filter.parse::<Filter>().unwrap().matches(&document), expected, "{filter}");
    }
    for no_object in ["", "[1]", "7", "{\"year\": 2015", "\"year\""] {
        assert!(!"year == 2015".parse::<Filter>().unwrap().matches(no_object));
    }
}

#[test]
fn bad_filters_are_named() {
    let deep = format!("{}a", "not ".repeat(101));
    for (filter, column, expected, found) in [
        ("", 1, "a field, `not` or `(`", "the end"),
        ("year >=", 8, "a string in double quotes, a number, true or false", "the end"),
        ("year >= 2015 and", 17, "a field, `not` or `(`", "the end"),
        ("year = 2015", 6, "a field, a value, a comparison such as ==, or a parenthesis", "`= 2015`"),
        (
            "year 2015",
            6,
            "==, !=, <, <=, >, >=, `in`, `all`, `contains`, `starts with`, `is missing`, `and`, `or` or the end",
            "`2015`",
        ),
        ("a starts \"x\"", 10, "`with`", "`\"x\"`"),
        ("a contains 3", 12, "a string in double quotes", "`3`"),
        ("a is 3", 6, "`missing`", "`3`"),
        ("year == pubmed", 9, "a string in double quotes, a number, true or false", "`pubmed`"),
        ("year == 20l5", 9, "a number such as -1.5e3", "`20l5`"),
        ("year == 1e999", 9, "a number such as -1.5e3", "`1e999`"),
        ("ü == \"abc", 6, "a string that ends with a double quote", "`\"abc`"),
        ("a == \"\\x\"", 6, "a string with JSON's escapes", "`\"\\x\"`"),
        ("`a", 1, "a name that ends with a backquote", "`` `a``"),
        ("(a or b", 8, "`and`, `or` or `)`", "the end"),
        ("a or b)", 7, "`and`, `or` or the end", "`)`"),
        ("a in 3", 6, "a list such as [\"a\", \"b\"]", "`3`"),
        ("a in [1 2]", 9, "`,` or `]`", "`2`"),
        ("a in [1,]", 9, "a string in double quotes, a number, true or false", "`]`"),
        ("a not == 3", 7, "`in`", "`==`"),
        ("a. == 3", 4, "the name of a field", "`==`"),
        ("\"a\" == 3", 1, "a field, `not` or `(`", "`\"a\"`"),
        (&deep, 401, "at most 100 parentheses and `not` in one another", "`not`"),
    ] {
        let error = filter.parse::<Filter>().unwrap_err();
        let found = found.replace("`` `a``", "``a`");
        assert_eq!(
            error.to_string(),
            format!("column {column} of the filter: expected {expected}, found {found}")
        );
    }
}
