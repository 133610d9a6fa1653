//! The real server on a free port, over a real service and database, driven over HTTP.
#![allow(clippy::unwrap_used)]

mod access;
mod accounts;
mod api;
// The device in software with which the service's own tests sign.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../service/tests/support/device.rs"]
mod device;
mod evidence;
mod gateway;
mod juries;
mod live;
mod notices;
mod operations;
mod oracle;
mod outcomes;
mod pages;
mod passkeys;
mod sign_in_attacks;
mod trading;
mod voting;
mod world;
