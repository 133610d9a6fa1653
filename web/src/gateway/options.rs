//! Options that clients of the OpenAI API send and that change nothing here.
//!
//! Clients fill in defaults that they never mean. Where an option has the value
//! that changes nothing it is accepted; with any other value the request is
//! refused, because answering as if it had not been sent would be a lie.

use std::fmt;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Which values of an option change nothing. Null always does not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Neutral {
    /// Every value: the option is about the client's own book-keeping.
    Any,
    /// The number 0.
    Zero,
    /// An empty string, list or object.
    Empty,
    /// `false`.
    Off,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// Plain text: `{"type": "text"}` or `["text"]`.
    Text,
}

impl Neutral {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Zero => value.as_f64() == Some(0.0),
            Self::Empty => match value {
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            },
            Self::Off => value == &Value::Bool(false),
            Self::OneOf(names) => value.as_str().is_some_and(|name| names.contains(&name)),
            Self::Text => match value {
                Value::Array(list) => list.len() == 1 && list[0] == "text",
                value => value["type"] == "text",
            },
        }
    }
}

/// A request with options that change nothing.
pub(crate) trait Options: DeserializeOwned {
    /// Names with the values that change nothing.
    const NEUTRAL: &'static [(&'static str, Neutral)];
}

/// A request after its options that change nothing were checked and left out.
#[derive(Debug)]
pub(crate) struct Checked<T>(pub(crate) T);

impl<'de, T: Options> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        for (name, neutral) in T::NEUTRAL {
            match fields.remove(*name) {
                Some(value) if !value.is_null() && !neutral.holds(&value) => {
                    return Err(D::Error::custom(Unhonoured(name)));
                }
                _ => {}
            }
        }
        // The message says all there is; its position would be one in the rebuilt value.
        let request = T::deserialize(Value::Object(fields)).map_err(D::Error::custom)?;
        Ok(Self(request))
    }
}

/// An option whose value would change something.
struct Unhonoured(&'static str);

impl fmt::Display for Unhonoured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` cannot be honoured with this value; leave it out",
            self.0
        )
    }
}
