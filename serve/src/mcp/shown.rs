//! Documents as tools show them: `id`, `title`, `url` and `text`, as ChatGPT's connectors read them, and what there is
//! besides.

use serde_json::{Map, Value};

/// A document without its text. Who has no title is called by its id; `url` is the field of that name in the metadata.
pub fn document(id: &str, title: &str, metadata: Value) -> Map<String, Value> {
    let title = if title.is_empty() { id } else { title };
    let mut shown = Map::new();
    shown.insert("id".to_owned(), id.into());
    shown.insert("title".to_owned(), title.into());
    if let Some(url) = metadata.get("url").filter(|url| url.as_str().is_some_and(|url| !url.is_empty())) {
        shown.insert("url".to_owned(), url.clone());
    }
    if !metadata.is_null() {
        shown.insert("metadata".to_owned(), metadata);
    }
    shown
}

/// The same of a document that is an object, and its text.
pub fn with_text(mut document_json: Value) -> (Map<String, Value>, String) {
    let mut taken = |name: &str| document_json.get_mut(name).map(Value::take).unwrap_or_default();
    let [id, title, text, metadata] = ["id", "title", "text", "metadata"].map(&mut taken);
    let text = if let Value::String(text) = text { text } else { String::new() };
    let [id, title] = [&id, &title].map(|value| value.as_str().unwrap_or_default());
    (document(id, title, metadata), text)
}

/// At most `length` characters of a text after the first `start` ones.
pub fn part(text: &str, start: usize, length: usize) -> &str {
    let byte = |text: &str, character: usize| {
        text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
    };
    let rest = &text[byte(text, start)..];
    &rest[..byte(rest, length)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_have_a_title_and_perhaps_an_address() {
        let shown = |title: &str, metadata: Value| Value::Object(document("a", title, metadata));
        assert_eq!(shown("", Value::Null), json!({"id": "a", "title": "a"}));
        let metadata = json!({"url": "https://example.com/a", "year": 2020});
        assert_eq!(
            shown("A", metadata.clone()),
            json!({"id": "a", "title": "A", "url": "https://example.com/a", "metadata": metadata})
        );
        for other in [json!(""), json!(1), Value::Null] {
            assert_eq!(shown("A", json!({"url": other})).get("url"), None, "{other}");
        }
        let (shown, text) = with_text(json!({"id": "a", "title": null, "text": "b", "metadata": null}));
        assert_eq!((Value::Object(shown), text.as_str()), (json!({"id": "a", "title": "a"}), "b"));
    }

    #[test]
    fn parts_are_of_characters() {
        let text = "été";
        assert_eq!([part(text, 0, 1), part(text, 1, 5), part(text, 2, 1)], ["é", "té", "é"]);
        assert_eq!([part(text, 3, 1), part(text, 9, 9), part(text, 0, usize::MAX)], ["", "", text]);
    }
}
