//! The file of a sentencepiece model: a message of protocol buffers (`sentencepiece_model.proto`).

/// A piece and what it is: 1 normal, 2 unknown, 3 control, 4 defined by the user, 5 unused, 6 a byte.
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: u64,
}

/// What is read of a model.
pub(super) struct Pieces {
    pub(super) list: Vec<Piece>,
    /// Whether it is a unigram language model, or else byte pairs.
    pub(super) is_unigram: bool,
    pub(super) byte_fallback: bool,
    /// The id of the unknown piece.
    pub(super) unknown: u64,
    pub(super) unknown_piece: String,
    /// How characters are normalized, in Base64.
    pub(super) charsmap: Option<String>,
    /// Whether a text begins with a space that is not written.
    pub(super) begins_with_space: bool,
    /// Whether spaces around a text go, and several become one.
    pub(super) removes_spaces: bool,
    pub(super) escapes_spaces: bool,
}

/// Reads the bytes of such a file.
pub(super) fn read(bytes: &[u8]) -> Result<Pieces, String> {
    let mut pieces = Pieces {
        list: Vec::new(),
        is_unigram: true,
        byte_fallback: false,
        unknown: 0,
        unknown_piece: "<unk>".to_owned(),
        charsmap: None,
        begins_with_space: true,
        removes_spaces: true,
        escapes_spaces: true,
    };
    for field in Fields(bytes) {
        match field? {
            (1, Content::Bytes(piece)) => pieces.list.push(piece_of(piece)?),
            (2, Content::Bytes(trainer)) => {
                for field in Fields(trainer) {
                    match field? {
                        (3, Content::Number(kind)) => match kind {
                            1 => pieces.is_unigram = true,
                            2 => pieces.is_unigram = false,
                            _ => {
                                return Err(
                                    "the model is neither one of unigrams nor of byte pairs".to_owned()
                                );
                            }
                        },
                        (35, Content::Number(on)) => pieces.byte_fallback = on != 0,
                        (40, Content::Number(id)) => pieces.unknown = id,
                        (45, Content::Bytes(text)) => pieces.unknown_piece = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (3, Content::Bytes(normalizer)) => {
                for field in Fields(normalizer) {
                    match field? {
                        (2, Content::Bytes(map)) if !map.is_empty() => pieces.charsmap = Some(base64(map)),
                        (3, Content::Number(on)) => pieces.begins_with_space = on != 0,
                        (4, Content::Number(on)) => pieces.removes_spaces = on != 0,
                        (5, Content::Number(on)) => pieces.escapes_spaces = on != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if pieces.list.is_empty() {
        return Err("it has no pieces: it is no sentencepiece model".to_owned());
    }
    Ok(pieces)
}

fn piece_of(bytes: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: 1 };
    for field in Fields(bytes) {
        match field? {
            (1, Content::Bytes(text)) => piece.text = utf8(text)?,
            (2, Content::Four(bits)) => piece.score = f32::from_bits(bits),
            (3, Content::Number(kind)) => piece.kind = kind,
            _ => {}
        }
    }
    Ok(piece)
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a piece is not UTF-8".to_owned())
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

enum Content<'a> {
    Number(u64),
    Four(u32),
    Bytes(&'a [u8]),
    Eight,
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(part)
    }

    fn field(&mut self) -> Option<(u64, Content<'a>)> {
        let key = self.number()?;
        let content = match key & 7 {
            0 => Content::Number(self.number()?),
            1 => {
                self.take(8)?;
                Content::Eight
            }
            2 => {
                let count = usize::try_from(self.number()?).ok()?;
                Content::Bytes(self.take(count)?)
            }
            5 => Content::Four(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, content))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Content<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "it is cut off, or no sentencepiece model".to_owned()))
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, want) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
    }

    #[test]
    fn what_is_no_model_is_refused() {
        assert!(read(b"").is_err());
        assert!(read(b"\x0a\xff").is_err());
        assert!(read(b"#!/bin/sh\n").is_err());
    }
}
