//! Numbers as people read them.

/// A number with commas.
///
/// ```
/// assert_eq!(secateur::report::grouped(1_234_567), "1,234,567");
/// ```
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, which is given as of one thing: "1 document", "2,590 queries".
///
/// ```
/// use secateur::report::counted;
/// let said = [0, 1, 2, 2590].map(|number| counted(number, "hard query"));
/// assert_eq!(said, ["0 hard queries", "1 hard query", "2 hard queries", "2,590 hard queries"]);
/// assert_eq!(counted(2, "key"), "2 keys");
/// ```
pub fn counted(number: usize, one: &str) -> String {
    format!("{} {}", grouped(number), noun(number, one))
}

/// The noun without the count, where that stands elsewhere.
pub fn noun(number: usize, one: &str) -> String {
    let is_vowel = |letter: char| "aeiou".contains(letter);
    match one.strip_suffix('y') {
        _ if number == 1 => one.to_owned(),
        Some(stem) if !stem.ends_with(is_vowel) => format!("{stem}ies"),
        _ => format!("{one}s"),
    }
}

/// The form of a verb that suits a count: `agreed(1, "is", "are")` is "is".
pub fn agreed(number: usize, one: &'static str, many: &'static str) -> &'static str {
    if number == 1 { one } else { many }
}

/// A measured number with three significant digits, however small it is; the digits before the point are all there.
///
/// ```
/// use secateur::report::three_digits;
/// let shown = [0.0, 0.012_34, 0.999_96, 1.0, 22.71, 345.6, 12_345.6].map(three_digits);
/// assert_eq!(shown, ["0", "0.0123", "1.00", "1.00", "22.7", "346", "12346"]);
/// ```
pub fn three_digits(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if !number.is_finite() {
        return number.to_string();
    }
    // Rounded first: 9.996 has one more digit before the point when it is 10.0.
    let scientific = format!("{number:.2e}");
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    let decimals = (2 - exponent.unwrap_or(0)).max(0) as usize;
    format!("{number:.decimals$}")
}
