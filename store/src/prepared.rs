//! Statements of the hot path, written out. Diesel compiles every `UPDATE` and every upsert anew because it
//! cannot know whether its text is fixed; a trade runs five of them.
//! As a query fragment of fixed pieces and bound values a statement is compiled once per connection.

use diesel::QueryResult;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};

/// A value to bind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bind<'a> {
    /// TEXT.
    Text(&'a str),
    /// TEXT or NULL.
    MaybeText(Option<&'a str>),
    /// INTEGER.
    Integer(i64),
    /// INTEGER or NULL.
    MaybeInteger(Option<i64>),
    /// REAL.
    Real(f64),
    /// REAL or NULL.
    MaybeReal(Option<f64>),
}

impl<'a> From<&'a String> for Bind<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a str> for Bind<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Option<String>> for Bind<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::MaybeText(text.as_deref())
    }
}

impl From<i64> for Bind<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Option<i64>> for Bind<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::MaybeInteger(number)
    }
}

impl From<f64> for Bind<'_> {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<Option<f64>> for Bind<'_> {
    fn from(number: Option<f64>) -> Self {
        Self::MaybeReal(number)
    }
}

/// A statement: pieces of SQL, each followed by a bound value, and the rest of the text.
pub(crate) struct Prepared<'a> {
    /// The pieces and their values.
    pub(crate) pieces: &'a [(&'static str, Bind<'a>)],
    /// What follows the last value.
    pub(crate) rest: &'static str,
}

impl QueryFragment<Sqlite> for Prepared<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        for (sql, value) in self.pieces {
            out.push_sql(sql);
            match value {
                Bind::Text(text) => out.push_bind_param::<Text, _>(*text)?,
                Bind::MaybeText(text) => out.push_bind_param::<Nullable<Text>, _>(text)?,
                Bind::Integer(number) => out.push_bind_param::<BigInt, _>(number)?,
                Bind::MaybeInteger(number) => {
                    out.push_bind_param::<Nullable<BigInt>, _>(number)?;
                }
                Bind::Real(number) => out.push_bind_param::<Double, _>(number)?,
                Bind::MaybeReal(number) => out.push_bind_param::<Nullable<Double>, _>(number)?,
            }
        }
        out.push_sql(self.rest);
        Ok(())
    }
}

// No id of its own: the text is the key of the cache.
impl QueryId for Prepared<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl diesel::RunQueryDsl<SqliteConnection> for Prepared<'_> {}
