//! Realistic and hostile views for tests.
