//! JSON that comes in more than one shape, read as it comes.
//!
//! serde's untagged enums keep what they read to try it again: 16 times as many bytes as a list of tokens has.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::input::Input;

const INPUT: &str = "a string, a list of strings, a list of token ids, or a list of such lists";

/// An element of a list that is an input.
enum Element {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(INPUT)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Element, E> {
        Ok(Element::Text(text))
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<Element, E> {
        u32::try_from(token).map(Element::Token).map_err(|_| E::custom(format!("{token} is no token id")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Element, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Element::Tokens)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Element, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(INPUT)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Input, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Input, E> {
        Ok(Input::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Input, A::Error> {
        let mut input = match list.next_element()? {
            None => return Ok(Input::Texts(Vec::new())),
            Some(Element::Text(text)) => Input::Texts(vec![text]),
            Some(Element::Token(token)) => Input::Tokens(vec![token]),
            Some(Element::Tokens(tokens)) => Input::TokenLists(vec![tokens]),
        };
        while let Some(element) = list.next_element()? {
            match (&mut input, element) {
                (Input::Texts(texts), Element::Text(text)) => texts.push(text),
                (Input::Tokens(tokens), Element::Token(token)) => tokens.push(token),
                (Input::TokenLists(lists), Element::Tokens(tokens)) => lists.push(tokens),
                _ => return Err(A::Error::custom(format!("a list is of several kinds, expected {INPUT}"))),
            }
        }
        Ok(input)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Input, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

/// A text, by itself or as the field `text` of an object.
pub struct Document(pub String);

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a string, or an object with the string `text`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Document, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Document, E> {
        Ok(Document(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Document, A::Error> {
        #[derive(Deserialize)]
        struct Object {
            text: String,
        }
        let Object { text } = Object::deserialize(MapAccessDeserializer::new(object))?;
        Ok(Document(text))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_have_four_shapes() {
        let of = |json: &str| serde_json::from_str::<Input>(json).map_err(|error| error.to_string());
        assert!(matches!(of(r#""a\n""#), Ok(Input::Text(text)) if text == "a\n"));
        assert!(matches!(of("[]"), Ok(Input::Texts(texts)) if texts.is_empty()));
        assert!(matches!(of(r#"["a", ""]"#), Ok(Input::Texts(texts)) if texts == ["a", ""]));
        assert!(matches!(of("[7, 4294967295]"), Ok(Input::Tokens(tokens)) if tokens == [7, u32::MAX]));
        assert!(
            matches!(of("[[1], [], [2, 3]]"), Ok(Input::TokenLists(lists)) if lists == [vec![1], vec![], vec![2, 3]])
        );
        for (wrong, part) in [
            ("1", "a list of such lists"),
            ("null", "a list of such lists"),
            ("{}", "a list of such lists"),
            (r#"["a", 1]"#, "of several kinds"),
            ("[1, [2]]", "of several kinds"),
            ("[4294967296]", "4294967296 is no token id"),
            ("[-1]", "integer `-1`"),
            ("[1.5]", "floating point"),
            (r#"[["a"]]"#, "invalid type: string"),
            ("[[[1]]]", "invalid type: sequence"),
        ] {
            let said = of(wrong).err().unwrap();
            assert!(said.contains(part), "{wrong}: {said}");
        }
    }

    #[test]
    fn documents_have_two_shapes() {
        let of = |json: &str| {
            serde_json::from_str(json).map(|Document(text)| text).map_err(|error| error.to_string())
        };
        assert_eq!(of(r#""a""#), Ok("a".to_owned()));
        assert_eq!(of(r#"{"id": [1], "text": "b"}"#), Ok("b".to_owned()));
        assert!(of("{}").unwrap_err().contains("`text`"));
        assert!(of("3").unwrap_err().contains("a string, or an object with the string `text`"));
    }
}
