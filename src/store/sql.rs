//! How the store's files speak to a database, whichever engine it is: statements with their values, and connections.
//!
//! A statement is one literal string, in the SQL that SQLite and PostgreSQL share, so that the engine keeps it prepared. A test
//! has a real PostgreSQL prepare every one of them (`tests/postgres.rs`). What only one engine understands stands in its own file.

use std::borrow::Cow;
use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Either, Executor as _, Pool, SqlSafeStr, SqlStr};

pub(super) use sqlx::FromRow;

use super::StoreError;
use super::ledger::Entry;
use super::sqlite::Database;

/// The transaction of a request.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) inner: <Database as sqlx::Database>::Connection,
    /// Rows for the ledger. The engine adds them with the commit: only it knows which row they follow.
    pub(super) entries: Vec<(Timestamp, Entry)>,
    /// What begins the transaction, as long as it has no statement: it goes with the first.
    pub(super) begin: Option<&'static str>,
}

impl Connection {
    pub(super) fn new(inner: <Database as sqlx::Database>::Connection) -> Self {
        Connection { inner, entries: Vec::new(), begin: None }
    }

    /// `query`, with what begins the transaction before it.
    fn within(&mut self, query: Query) -> Query {
        match self.begin.take() {
            Some(begin) => Query { text: Cow::Owned(format!("{begin}; {}", query.text)), ..query },
            None => query,
        }
    }

    /// The rows of `asked`, and carries out `queries` after it, on the way of one.
    pub(super) async fn fetch_and_execute<T: Columns>(
        &mut self,
        asked: Query,
        queries: Vec<Query>,
    ) -> Result<Vec<T>, StoreError> {
        together(std::iter::once(asked).chain(queries)).fetch_all(self).await
    }
}

/// The connections for queries that change nothing.
#[derive(Debug, Clone)]
pub(super) struct Readers(pub(super) Pool<Database>);

/// Where a query is asked: what was changed in the transaction is seen there only.
pub(super) enum Asked<'c> {
    Transaction(&'c mut Connection),
    Readers(&'c Readers),
}

impl<'c> From<&'c mut Connection> for Asked<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Asked::Transaction(connection)
    }
}

impl<'c> From<&'c Readers> for Asked<'c> {
    fn from(readers: &'c Readers) -> Self {
        Asked::Readers(readers)
    }
}

type Row = <Database as sqlx::Database>::Row;

/// What a row can be read as.
pub(super) trait Columns: for<'r> FromRow<'r, Row> + Send + Unpin + 'static {}

impl<T> Columns for T where T: for<'r> FromRow<'r, Row> + Send + Unpin + 'static {}

/// What a query answers. Boxed, since the compiler cannot tell that an unnamed future may move between threads whatever the
/// lifetime of its transaction is.
type Found<'c, T> = BoxFuture<'c, Result<T, StoreError>>;

/// A value of a statement; its type is known even where it is NULL, as PostgreSQL wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! values {
    ($($kind:ident: $($from:ty),+;)+) => { $($(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$kind(Some(value.into()))
            }
        }

        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Value {
                Value::$kind(value.map(Into::into))
            }
        }
    )+)+ };
}

values! {
    Int: i64;
    Text: &str, &String, String;
    Bytes: &[u8], Vec<u8>;
}

impl From<&Vec<u8>> for Value {
    fn from(value: &Vec<u8>) -> Value {
        Value::Bytes(Some(value.clone()))
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Value {
        Value::Text(value.clone())
    }
}

impl From<&Option<Vec<u8>>> for Value {
    fn from(value: &Option<Vec<u8>>) -> Value {
        Value::Bytes(value.clone())
    }
}

/// A statement and its values.
#[derive(Debug)]
pub(super) struct Query {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// The statement `text`, with `$1` for its first value.
pub(super) fn query(text: &'static str) -> Query {
    Query { text: Cow::Borrowed(text), values: Vec::new() }
}

impl Query {
    /// Gives the next value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Gives the values of the list that the statement has as its last parameter: `$3..` stands for `$3, $4, $5`, and `($3)..`
    /// for `($3), ($4), ($5)`. An empty list becomes an empty text.
    pub(super) fn each(mut self, list: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        let before = self.values.len();
        self.values.extend(list.into_iter().map(Into::into));
        self.text = Cow::Owned(with_list(&self.text, self.values.len() - before));
        self
    }

    /// Carries it out; returns how many rows it changed.
    pub(super) async fn execute(self, tx: &mut Connection) -> Result<u64, StoreError> {
        let (text, values) = tx.within(self).parts();
        let query = values.into_iter().fold(sqlx::query(text), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        });
        let mut results = tx.inner.fetch_many(query);
        let mut changed = 0;
        while let Some(result) = results.try_next().await? {
            if let Either::Left(result) = result {
                // Of a statement that changes nothing, SQLite tells the number of the one before: the last of them counts.
                changed = result.rows_affected();
            }
        }
        Ok(changed)
    }

    /// All rows.
    pub(super) fn fetch_all<'c, T: Columns>(self, on: impl Into<Asked<'c>>) -> Found<'c, Vec<T>> {
        let on = on.into();
        Box::pin(async move {
            Ok(match on {
                Asked::Transaction(tx) => tx.within(self).rows().fetch_all(&mut tx.inner).await?,
                Asked::Readers(readers) => self.rows().fetch_all(&readers.0).await?,
            })
        })
    }

    /// The first row, if there is one.
    pub(super) fn fetch_optional<'c, T: Columns>(self, on: impl Into<Asked<'c>>) -> Found<'c, Option<T>> {
        let on = on.into();
        Box::pin(async move {
            Ok(match on {
                Asked::Transaction(tx) => tx.within(self).rows().fetch_optional(&mut tx.inner).await?,
                Asked::Readers(readers) => self.rows().fetch_optional(&readers.0).await?,
            })
        })
    }

    /// The first row.
    pub(super) fn fetch_one<'c, T: Columns>(self, on: impl Into<Asked<'c>>) -> Found<'c, T> {
        let row = self.fetch_optional(on);
        Box::pin(async { row.await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound)) })
    }

    /// The first column of all rows.
    pub(super) fn scalars<'c, T: Send + 'static>(self, on: impl Into<Asked<'c>>) -> Found<'c, Vec<T>>
    where
        (T,): Columns,
    {
        let rows = self.fetch_all::<(T,)>(on);
        Box::pin(async { Ok(rows.await?.into_iter().map(|(value,)| value).collect()) })
    }

    /// The first column of the first row, if there is one.
    pub(super) fn scalar_optional<'c, T: Send + 'static>(
        self,
        on: impl Into<Asked<'c>>,
    ) -> Found<'c, Option<T>>
    where
        (T,): Columns,
    {
        let row = self.fetch_optional::<(T,)>(on);
        Box::pin(async { Ok(row.await?.map(|(value,)| value)) })
    }

    /// The first column of the first row.
    pub(super) fn scalar<'c, T: Send + 'static>(self, on: impl Into<Asked<'c>>) -> Found<'c, T>
    where
        (T,): Columns,
    {
        let row = self.fetch_one::<(T,)>(on);
        Box::pin(async { Ok(row.await?.0) })
    }

    fn rows<T: Columns>(
        self,
    ) -> sqlx::query::QueryAs<'static, Database, T, <Database as sqlx::Database>::Arguments> {
        let (text, values) = self.parts();
        values.into_iter().fold(sqlx::query_as(text), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    fn parts(self) -> (SqlStr, Vec<Value>) {
        let text = match self.text {
            Cow::Borrowed(text) => text.into_sql_str(),
            // Made of literals by `each`, `together` or `within`.
            Cow::Owned(text) => AssertSqlSafe(text).into_sql_str(),
        };
        (text, self.values)
    }
}

/// Statements, of which the first alone may have rows, as one query, for an engine to which each way costs more than the statement.
fn together(queries: impl IntoIterator<Item = Query>) -> Query {
    let (mut text, mut values) = (String::new(), Vec::new());
    for query in queries {
        if !text.is_empty() {
            text.push_str("; ");
        }
        renumber(&mut text, &query.text, values.len());
        values.extend(query.values);
    }
    Query { text: Cow::Owned(text), values }
}

/// Writes `text` to `out`, with `by` added to the number of each parameter.
fn renumber(out: &mut String, text: &str, by: usize) {
    let mut parts = text.split('$');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (number, rest) = number(part);
        let _ = write!(out, "${}{rest}", number.saturating_add(by));
    }
}

/// The number at the beginning of `text`, and what comes after it.
fn number(text: &str) -> (usize, &str) {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (digits.parse().unwrap_or_default(), rest)
}

/// `text` with `count` parameters in the place of its list.
pub(super) fn with_list(text: &str, count: usize) -> String {
    let Some((before, after)) = text.split_once("..") else { return text.to_owned() };
    let Some((before, first)) = before.rsplit_once('$') else { return text.to_owned() };
    let (first, close) = number(first);
    let before = if close.is_empty() { before } else { before.strip_suffix('(').unwrap_or(before) };
    let open = if close.is_empty() { "" } else { "(" };
    let places: Vec<String> =
        (0..count).map(|n| format!("{open}${}{close}", n.saturating_add(first))).collect();
    let places = if places.is_empty() { format!("{open}''{close}") } else { places.join(", ") };
    format!("{before}{places}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_as_many_places_as_values() {
        for (text, count, with) in [
            ("a = $1 AND b IN ($2..) LIMIT 3", 3, "a = $1 AND b IN ($2, $3, $4) LIMIT 3"),
            ("b NOT IN ($1..)", 0, "b NOT IN ('')"),
            ("SELECT $9 FROM (VALUES ($10)..) AS x", 2, "SELECT $9 FROM (VALUES ($10), ($11)) AS x"),
            ("(VALUES ($1)..)", 0, "(VALUES (''))"),
            ("no list, $1", 3, "no list, $1"),
        ] {
            assert_eq!(with_list(text, count), with);
        }
    }

    #[test]
    fn statements_keep_their_own_values() {
        let queries = vec![
            query("INSERT INTO a VALUES ($1, $2)").bind("x").bind(5),
            query("DELETE FROM b"),
            query("UPDATE c SET d = $2 WHERE e = $1").bind(None::<i64>).bind(vec![7]),
        ];
        let one = together(queries);
        assert_eq!(
            one.text,
            "INSERT INTO a VALUES ($1, $2); DELETE FROM b; UPDATE c SET d = $4 WHERE e = $3"
        );
        let text = Value::Text(Some("x".into()));
        assert_eq!(one.values, [text, Value::Int(Some(5)), Value::Int(None), Value::Bytes(Some(vec![7]))]);
    }
}
