//! The auditor's own test: every column of a good export is changed in several rows, the digest is
//! made right again, and the auditor must notice.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use plumbline_audit::verify;
use plumbline_simulation::{Scale, run};
use serde_json::{Value, json};

/// Columns that nothing follows from: texts for people, and identifiers that only have to differ.
/// A change of one is noticed by the digest at the end of the export, and by nothing else.
const FREE: &[(&str, &str)] = &[
    ("accounts", "handle"),
    // A new account's grant is dated; accounts that hold money for others have none.
    ("accounts", "created_at"),
    ("transfers", "id"),
    // Of the run alone; a market that names another run is noticed.
    ("runs", "id"),
    ("runs", "name"),
    ("runs", "kind"),
    ("runs", "created_at"),
    ("markets", "claim"),
    ("markets", "claim_kind"),
    ("markets", "rubric"),
    ("markets", "probe"),
    ("evidence", "kind"),
    ("evidence", "title"),
    ("evidence", "body"),
    // Bounds the move and gives its direction; how far it goes is the weight of the ensemble.
    ("evidence", "shift"),
    // Of a secret that was not used yet; a used one must fit its commitment.
    ("draw_secrets", "commitment"),
    // Bounds on what an order did, which it need not have reached.
    ("orders", "limit_probability"),
    ("orders", "expires_at"),
];

/// Rows of each column that are changed.
const ROWS: usize = 4;

struct Good {
    header: Value,
    rows: Vec<Value>,
}

fn good() -> Good {
    let scale = Scale {
        actors: 24,
        markets: 5,
        turns: 9,
        actions: 16,
        ..Scale::small()
    };
    let (text, findings) = run(11, &scale).unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
    let text = String::from_utf8(text).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.pop();
    let header = lines.remove(0);
    Good {
        header,
        rows: lines,
    }
}

fn sealed(header: &Value, rows: &[Value]) -> String {
    let mut text = format!("{header}\n");
    for row in rows {
        text.push_str(&row.to_string());
        text.push('\n');
    }
    let digest = blake3::hash(text.as_bytes()).to_hex();
    let trailer = json!({"rows": rows.len(), "blake3": digest.as_str()});
    format!("{text}{trailer}\n")
}

/// Whether the auditor finds fault.
fn is_noticed(header: &Value, rows: &[Value]) -> bool {
    verify(sealed(header, rows).as_bytes()).map_or(true, |report| !report.is_green())
}

/// Values near a good one that are wrong.
fn wrong(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            // A time is moved by days, so that it is out of its order and not only inexact.
            let step = if number > 1_000_000_000_000 {
                864_000_000
            } else {
                1
            };
            vec![json!(number + step), json!(number - step)]
        }
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) if text.contains('.') || text.len() < 3 => {
                vec![
                    json!((number + 1e-9).to_string()),
                    json!((-number - 0.5).to_string()),
                ]
            }
            _ => {
                let last = text.chars().last();
                let other = if last == Some('0') { '1' } else { '0' };
                let mut changed = text.clone();
                changed.pop();
                changed.push(other);
                vec![json!(changed), Value::Null]
            }
        },
        _ => vec![json!(1)],
    }
}

#[test]
fn every_change_of_a_good_export_is_noticed() {
    let Good { header, mut rows } = good();
    assert!(!is_noticed(&header, &rows));
    let mut places: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (at, line) in rows.iter().enumerate() {
        let table = line["table"].as_str().unwrap();
        for (column, value) in line["row"].as_object().unwrap() {
            if !value.is_null() {
                let place = (table.to_owned(), column.clone());
                places.entry(place).or_default().push(at);
            }
        }
    }
    let mut missed = BTreeSet::new();
    let mut tried = 0;
    for ((table, column), all) in places {
        if FREE.contains(&(&*table, &*column)) {
            continue;
        }
        let step = (all.len() / ROWS).max(1);
        for &at in all.iter().step_by(step) {
            let original = rows[at]["row"][&column].clone();
            for value in wrong(&original) {
                tried += 1;
                rows[at]["row"][&column] = value.clone();
                if !is_noticed(&header, &rows) {
                    missed.insert(format!("{table}.{column}: {original} as {value}"));
                }
            }
            rows[at]["row"][&column] = original;
        }
    }
    let missed: Vec<_> = missed.into_iter().collect();
    assert!(
        missed.is_empty(),
        "{} of {tried}:\n{}",
        missed.len(),
        missed.join("\n")
    );
}

/// How many of a table's last rows leave no trace elsewhere yet.
fn unwitnessed(table: &str, rows: &[Value]) -> usize {
    match table {
        // A secret is unused until it is drawn with.
        "draw_secrets" => 1,
        // The newest entries wait for the next signed checkpoint.
        "outbox" => {
            let of = |table| rows.iter().filter(move |line| line["table"] == table);
            let signed = of("log_checkpoints").filter_map(|line| line["row"]["size"].as_u64());
            of("outbox").count() - signed.max().unwrap() as usize
        }
        _ => 0,
    }
}

#[test]
fn a_row_that_is_missing_or_there_twice_is_noticed() {
    let Good { header, rows } = good();
    let mut last: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, line) in rows.iter().enumerate() {
        last.entry(line["table"].as_str().unwrap())
            .or_default()
            .push(at);
    }
    for (table, all) in last {
        // A run without a market leaves no trace.
        if table == "runs" {
            continue;
        }
        let last = all.len() - 1 - unwitnessed(table, &rows);
        for at in [all[0], all[all.len() / 2], all[last]] {
            let mut without = rows.clone();
            let row = without.remove(at);
            // The entries do not say which of their sizes were signed; an earlier export does.
            let by_an_earlier_one = table == "log_checkpoints";
            let noticed = by_an_earlier_one || is_noticed(&header, &without);
            assert!(noticed, "missing: {row}");
            let mut twice = rows.clone();
            twice.insert(at, rows[at].clone());
            assert!(is_noticed(&header, &twice), "twice: {row}");
        }
    }
}
