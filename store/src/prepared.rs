//! Statements of the hot path, written out. Diesel compiles every `UPDATE` and every upsert anew, and puts
//! the text of every `INSERT` together anew, because it cannot know whether it is fixed. As a query fragment
//! of fixed pieces and bound values a statement is compiled once per connection, and found by its type.

use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text};
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
    /// BLOB.
    Bytes(&'a [u8]),
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

impl<'a> From<&'a [u8]> for Bind<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
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
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        walk(self.pieces, self.rest, out)
    }
}

// No id of its own: the text is the key of the cache.
impl QueryId for Prepared<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl diesel::RunQueryDsl<SqliteConnection> for Prepared<'_> {}

/// A [`Prepared`] statement that is found by its type instead of its text. Only [`prepared!`] makes one,
/// because `Id` has to stand for this text and no other.
pub(crate) struct Typed<'a, Id, const N: usize> {
    /// The pieces and their values.
    pub(crate) pieces: [(&'static str, Bind<'a>); N],
    /// What follows the last value.
    pub(crate) rest: &'static str,
    /// What the compiled statement is found by.
    pub(crate) id: PhantomData<Id>,
}

/// A statement of literal text: pieces of SQL, each followed by a value to bind; then what follows the last.
macro_rules! prepared {
    ([$(($sql:literal, $value:expr $(,)?)),* $(,)?], $rest:literal) => {{
        struct Statement;
        $crate::prepared::Typed {
            pieces: [$(($sql, $crate::prepared::Bind::from($value))),*],
            rest: $rest,
            id: std::marker::PhantomData::<Statement>,
        }
    }};
}
pub(crate) use prepared;

impl<Id, const N: usize> QueryFragment<Sqlite> for Typed<'_, Id, N> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        walk(&self.pieces, self.rest, out)
    }
}

impl<Id: 'static, const N: usize> QueryId for Typed<'_, Id, N> {
    type QueryId = Id;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<Id, const N: usize> diesel::RunQueryDsl<SqliteConnection> for Typed<'_, Id, N> {}

fn walk<'b>(
    pieces: &'b [(&'static str, Bind<'b>)],
    rest: &'static str,
    mut out: AstPass<'_, 'b, Sqlite>,
) -> QueryResult<()> {
    for (sql, value) in pieces {
        out.push_sql(sql);
        match value {
            Bind::Text(text) => out.push_bind_param::<Text, _>(*text)?,
            Bind::MaybeText(text) => out.push_bind_param::<Nullable<Text>, _>(text)?,
            Bind::Integer(number) => out.push_bind_param::<BigInt, _>(number)?,
            Bind::MaybeInteger(number) => out.push_bind_param::<Nullable<BigInt>, _>(number)?,
            Bind::Bytes(bytes) => out.push_bind_param::<Binary, _>(*bytes)?,
            Bind::Real(number) => out.push_bind_param::<Double, _>(number)?,
            Bind::MaybeReal(number) => out.push_bind_param::<Nullable<Double>, _>(number)?,
        }
    }
    out.push_sql(rest);
    Ok(())
}
