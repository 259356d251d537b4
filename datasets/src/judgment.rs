//! One line of a judgments file, in both directions.

use std::borrow::Cow;

use crate::fault::Fault;

/// Whether the first line of a judgments file is a header: its last word is no number.
pub(crate) fn is_header(line: &str) -> bool {
    let last = line.split_ascii_whitespace().next_back().unwrap_or_default();
    last.trim_matches('"').parse::<f64>().is_err()
}

/// A judgment: query id, document id, relevance.
pub(crate) type Judgment<'a> = (Cow<'a, str>, Cow<'a, str>, i32);

/// Reads `query-id <tab> corpus-id <tab> score`, with the quoting of Python's csv module that BEIR's loader has.
pub(crate) fn parse_judgment(line: &str) -> Result<Judgment<'_>, Fault> {
    let mut fields: [Cow<'_, str>; 3] = Default::default();
    let mut got = 0;
    let mut rest = Some(line);
    while let Some(tail) = rest {
        let (field, after) = next_field(tail)?;
        if let Some(slot) = fields.get_mut(got) {
            *slot = field;
        }
        got += 1;
        rest = after;
    }
    if got != 3 {
        let expected = "3 tab-separated fields (query-id, corpus-id, score)";
        return Err(Fault::FieldCount { expected: expected.into(), got });
    }
    let [query_id, doc_id, relevance] = fields;
    let relevance =
        relevance.trim().parse().map_err(|_| Fault::BadRelevance { got: relevance.into_owned() })?;
    Ok((query_id, doc_id, relevance))
}

/// Splits off the first field; a field that begins with a quote ends at the next quote that is not doubled.
fn next_field(line: &str) -> Result<(Cow<'_, str>, Option<&str>), Fault> {
    let split = |line: &'_ str| line.find('\t');
    let Some(quoted) = line.strip_prefix('"') else {
        return Ok(match split(line) {
            Some(tab) => (Cow::Borrowed(&line[..tab]), Some(&line[tab + 1..])),
            None => (Cow::Borrowed(line), None),
        });
    };
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let quote = rest.find('"').ok_or(Fault::OpenQuote)?;
        field.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(tail) => {
                field.push('"');
                rest = tail;
            }
            None => break,
        }
    }
    let end = split(rest);
    field.push_str(&rest[..end.unwrap_or(rest.len())]);
    Ok((Cow::Owned(field), end.map(|tab| &rest[tab + 1..])))
}

/// The line of a judgments file, without its line end.
pub(crate) fn judgment_line(query_id: &str, doc_id: &str, relevance: i32) -> Result<String, Fault> {
    let query_id = quote_field("query id", query_id)?;
    let doc_id = quote_field("document id", doc_id)?;
    Ok(format!("{query_id}\t{doc_id}\t{relevance}"))
}

fn quote_field<'a>(field: &'static str, value: &'a str) -> Result<Cow<'a, str>, Fault> {
    if value.is_empty() || value.contains(['\n', '\r']) {
        return Err(Fault::NotOneField { field, value: value.to_owned() });
    }
    Ok(if value.contains(['"', '\t']) {
        Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_in_a_word() {
        for (line, is_one) in [
            ("query-id\tcorpus-id\tscore", true),
            ("\"query-id\"\t\"corpus-id\"\t\"score\"", true),
            ("qid docid relevance", true),
            ("q1\td1\t1", false),
            ("q1\td1\t\"1\"", false),
            ("q1\td1\t0.5", false),
            ("q1 0 d1 1", false),
        ] {
            assert_eq!(is_header(line), is_one, "{line}");
        }
    }

    #[test]
    fn judgments_follow_pythons_csv() {
        type Expected<'a> = Result<(&'a str, &'a str, i32), &'a str>;
        let cases: [(&str, Expected); 13] = [
            ("q\td\t1", Ok(("q", "d", 1))),
            ("q 1\td'2\t -1 ", Ok(("q 1", "d'2", -1))),
            ("q\td\t+2", Ok(("q", "d", 2))),
            ("\"q\"\t\"d\te\"\t0", Ok(("q", "d\te", 0))),
            ("\"a \"\"b\"\" c\"x\td\t1", Ok(("a \"b\" cx", "d", 1))),
            ("a\"b\td\t1", Ok(("a\"b", "d", 1))),
            ("q\td", Err("expected 3 tab-separated fields (query-id, corpus-id, score), found 2")),
            ("q 0 d 1", Err("expected 3 tab-separated fields (query-id, corpus-id, score), found 1")),
            ("q\t0\td\t1", Err("expected 3 tab-separated fields (query-id, corpus-id, score), found 4")),
            ("q\td\t1.0", Err("relevance \"1.0\" is not an integer")),
            ("q\td\t", Err("relevance \"\" is not an integer")),
            ("q\td\t3000000000", Err("relevance \"3000000000\" is not an integer")),
            ("\"q\td\t1", Err("a quoted field is not closed")),
        ];
        for (line, expected) in cases {
            let parsed = parse_judgment(line);
            match expected {
                Ok((query_id, doc_id, relevance)) => {
                    assert_eq!(parsed, Ok((query_id.into(), doc_id.into(), relevance)), "{line}");
                }
                Err(message) => assert_eq!(parsed.unwrap_err().to_string(), message, "{line}"),
            }
        }
    }
}
