//! The values that metadata has and filters name, and their order.

use std::cmp::Ordering;
use std::fmt;

/// A string, a number or a boolean.
///
/// Values of one kind are ordered: strings by their bytes, numbers by size, `false` before `true`. Values of
/// different kinds are different; for filters neither is less than the other.
///
/// ```
/// use secateur_index::filter::Value;
/// assert!(Value::from(2015) < Value::from(2016));
/// assert_eq!(Value::from("a \"b\"").to_string(), r#""a \"b\"""#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
}

/// What a value is.
///
/// ```
/// use secateur_index::filter::ValueKind;
/// assert_eq!(ValueKind::Number.to_string(), "numbers");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// Booleans.
    Bool,
    /// Numbers.
    Number,
    /// Strings.
    String,
}

impl ValueKind {
    /// All of them, in the order of their values.
    pub const ALL: [ValueKind; 3] = [ValueKind::Bool, ValueKind::Number, ValueKind::String];
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueKind::Bool => "booleans",
            ValueKind::Number => "numbers",
            ValueKind::String => "strings",
        })
    }
}

/// A JSON number. Numbers are compared exactly, whether they are written as integers or not.
///
/// ```
/// use secateur_index::filter::Number;
/// assert_eq!(Number::new(2015.0), Some(Number::from(2015)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(Repr);

/// Every number has one representation, so that equality is that of the representation.
#[derive(Debug, Clone, Copy)]
enum Repr {
    Integer(i128),
    /// Finite, and not an integer that the other variant can hold.
    Fraction(f64),
}

impl PartialEq for Repr {
    fn eq(&self, other: &Repr) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Repr {}

impl Repr {
    fn cmp(&self, other: &Repr) -> Ordering {
        match (*self, *other) {
            (Repr::Integer(a), Repr::Integer(b)) => a.cmp(&b),
            (Repr::Fraction(a), Repr::Fraction(b)) => a.total_cmp(&b),
            (Repr::Integer(a), Repr::Fraction(b)) => integer_to_fraction(a, b),
            (Repr::Fraction(a), Repr::Integer(b)) => integer_to_fraction(b, a).reverse(),
        }
    }
}

/// How an integer compares with a number that is none, without rounding either.
fn integer_to_fraction(integer: i128, fraction: f64) -> Ordering {
    // The conversion is exact, except that numbers beyond i128 become the nearest i128.
    integer.cmp(&(fraction.trunc() as i128)).then(if fraction > 0.0 {
        Ordering::Less
    } else {
        Ordering::Greater
    })
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Number {
    /// A finite number; `None` for an infinity or NaN.
    ///
    /// ```
    /// use secateur_index::filter::Number;
    /// assert!(Number::new(0.5) < Number::new(1.0));
    /// assert_eq!(Number::new(f64::NAN), None);
    /// ```
    pub fn new(number: f64) -> Option<Number> {
        // 2^127: below it the conversion to i128 is exact.
        const LIMIT: f64 = (1u128 << 127) as f64;
        match number {
            _ if !number.is_finite() => None,
            _ if number.fract() == 0.0 && number.abs() < LIMIT => Some(Number(Repr::Integer(number as i128))),
            _ => Some(Number(Repr::Fraction(number))),
        }
    }

    pub(super) fn from_json(number: &serde_json::Number) -> Option<Number> {
        match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Some(Number::from(integer)),
            (None, Some(integer)) => Some(Number(Repr::Integer(i128::from(integer)))),
            (None, None) => number.as_f64().and_then(Number::new),
        }
    }
}

impl From<i64> for Number {
    fn from(integer: i64) -> Number {
        Number(Repr::Integer(i128::from(integer)))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Repr::Integer(integer) => write!(f, "{integer}"),
            // The shortest digits that give the same number again, with an exponent where that is shorter.
            Repr::Fraction(fraction) => write!(f, "{fraction:?}"),
        }
    }
}

/// A value whose string lies elsewhere; in the order of [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ValueRef<'a> {
    Bool(bool),
    Number(Number),
    String(&'a str),
}

impl<'a> ValueRef<'a> {
    /// Writes the value as columns keep it: a byte that tells its kind, and what it is.
    pub fn write(self, bytes: &mut Vec<u8>) {
        match self {
            ValueRef::Bool(bool) => bytes.push(u8::from(bool)),
            ValueRef::Number(Number(Repr::Integer(integer))) => {
                bytes.push(2);
                bytes.extend(integer.to_le_bytes());
            }
            ValueRef::Number(Number(Repr::Fraction(fraction))) => {
                bytes.push(3);
                bytes.extend(fraction.to_le_bytes());
            }
            ValueRef::String(string) => {
                bytes.push(4);
                bytes.extend(string.as_bytes());
            }
        }
    }

    /// The value of such bytes.
    pub fn read(bytes: &'a [u8]) -> Option<ValueRef<'a>> {
        let (kind, rest) = bytes.split_first()?;
        Some(match kind {
            0 | 1 if rest.is_empty() => ValueRef::Bool(*kind == 1),
            2 => ValueRef::Number(Number(Repr::Integer(i128::from_le_bytes(rest.try_into().ok()?)))),
            3 => ValueRef::Number(Number(Repr::Fraction(f64::from_le_bytes(rest.try_into().ok()?)))),
            4 => ValueRef::String(std::str::from_utf8(rest).ok()?),
            _ => return None,
        })
    }

    pub fn kind(self) -> ValueKind {
        match self {
            ValueRef::Bool(_) => ValueKind::Bool,
            ValueRef::Number(_) => ValueKind::Number,
            ValueRef::String(_) => ValueKind::String,
        }
    }

    pub fn contains(self, part: &str) -> bool {
        matches!(self, ValueRef::String(string) if string.contains(part))
    }

    pub fn starts_with(self, start: &str) -> bool {
        matches!(self, ValueRef::String(string) if string.starts_with(start))
    }
}

impl Value {
    pub(super) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Bool(bool) => ValueRef::Bool(*bool),
            Value::Number(number) => ValueRef::Number(*number),
            Value::String(string) => ValueRef::String(string),
        }
    }

    /// The value of JSON's strings, numbers and booleans; `None` for null, lists and objects.
    pub(super) fn from_json(json: &serde_json::Value) -> Option<Value> {
        match json {
            serde_json::Value::Bool(bool) => Some(Value::Bool(*bool)),
            serde_json::Value::Number(number) => Number::from_json(number).map(Value::Number),
            serde_json::Value::String(string) => Some(Value::String(string.clone())),
            _ => None,
        }
    }

    /// Values of one kind are comparable, and lie together in the order of all.
    pub(crate) fn kind(&self) -> ValueKind {
        self.as_ref().kind()
    }

    pub(super) fn contains(&self, part: &str) -> bool {
        self.as_ref().contains(part)
    }

    pub(super) fn starts_with(&self, start: &str) -> bool {
        self.as_ref().starts_with(start)
    }
}

impl From<&str> for Value {
    fn from(string: &str) -> Value {
        Value::String(string.to_owned())
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Value {
        Value::Bool(bool)
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Value {
        Value::Number(integer.into())
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Value {
        Value::Number(number)
    }
}

impl fmt::Display for Value {
    /// As in JSON, and in filters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::String(string) => write!(f, "{}", serde_json::Value::from(string.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The order is that of i128 among integers, of f64 where it has no rounding, and total.
        #[test]
        fn order_is_exact(a: i64, b in -1e6f64..1e6, c in any::<f64>().prop_filter("finite", |x| x.is_finite()), small in -1000i32..1000) {
            let [a, b, c] = [Number::from(a), Number::new(b).unwrap(), Number::new(c).unwrap()];
            for (x, y) in [(a, b), (b, c), (a, c)] {
                prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
                prop_assert_eq!(x.cmp(&y) == Ordering::Equal, x == y);
            }
            let mut sorted = [a, b, c];
            sorted.sort();
            prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
            let whole = Number::from(i64::from(small));
            prop_assert_eq!(whole, Number::new(f64::from(small)).unwrap());
            prop_assert!(whole < Number::new(f64::from(small) + 0.25).unwrap());
            prop_assert!(whole > Number::new(f64::from(small) - 0.25).unwrap());
        }
    }

    #[test]
    fn large_numbers_are_told_apart() {
        let json = |text: &str| Value::from_json(&serde_json::from_str(text).unwrap()).unwrap();
        let ascending = [
            "-1e300",
            "-9223372036854775808",
            "-0.5",
            "-1e-300",
            "0",
            "1e-300",
            "0.5",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "1e38",
            "1e300",
        ];
        for pair in ascending.windows(2) {
            assert!(json(pair[0]) < json(pair[1]), "{pair:?}");
        }
        for text in ascending {
            assert_eq!(json(&json(text).to_string()), json(text), "{text}");
        }
        assert_eq!(json("-0.0"), json("0"));
        assert_eq!(json("2e3"), json("2000"));
    }
}
