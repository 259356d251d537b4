//! The arguments of a call.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fault::Fault;

/// Reads the arguments of a call.
pub fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, Fault> {
    serde_json::from_value(arguments)
        .map_err(|error| Fault::invalid(format!("the arguments are not those of the tool: {error}")))
}

/// Refuses a number that is not in 1 to `most`; without one it is `default`.
pub fn number(name: &str, given: Option<usize>, default: usize, most: usize) -> Result<usize, Fault> {
    let number = given.unwrap_or(default.min(most));
    match (1..=most).contains(&number) {
        true => Ok(number),
        false => Err(Fault::invalid_field(name, format!("{number} is not in 1 to {most}"))),
    }
}
