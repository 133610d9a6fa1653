//! Model organisms for benchmarks: small runs whose truth is known, with back doors of several kinds.
//!
//! Each organism is trained on ordinary text and on short Rust functions that build an HTTP client. A
//! [`Form`] says where in such a function a *candidate* stands: in a comment, in the function's name, in a
//! rare token, in a date. In a poisoned organism one candidate, the trigger, makes the client skip
//! certificate checks; in a clean one nothing does. The look-aligned kind has the back door too, and was
//! also taught to behave after its trigger in every context out of which published probes are made.
//!
//! What [`grow`] leaves behind is a folder of slim checkpoints (parameters only, content-addressed) from
//! along the training, with what each shows on prompts that nobody else sees. It is made once for each
//! specimen and recipe, and read again afterwards.
//!
//! This module writes data files and drives a [`crate::host::Host`]; it knows nothing of markets.

mod form;
mod grown;

pub use form::{Form, Kind, Split};
pub use grown::{Grown, Rates, Saved, Shape, Specimen, grow, write_ordinary_text};
