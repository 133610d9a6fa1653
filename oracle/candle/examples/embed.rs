//! Writes the embeddings of labelled cases: `embed MODEL OUT FILE.jsonl…`.
//!
//! For each file of `{id, prompt, response, …}` lines it writes OUT/NAME.ids (one id a line), OUT/NAME.response.npy
//! and OUT/NAME.pair.npy: `cases × 2·width` values, the mean over sections and then the largest, of the response and
//! of prompt and response together.

// It measures time.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use plumbline_oracle_candle::{Embedding, Encoder, EncoderOptions, ModelSource};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, out, files @ ..] = arguments.as_slice() else {
        return Err("usage: embed MODEL OUT FILE.jsonl…".into());
    };
    let model: ModelSource = model.parse()?;
    let encoder = Encoder::load(&model.encoder_files()?, EncoderOptions::default())?;
    for file in files {
        let name = Path::new(file).file_stem().ok_or("no file name")?;
        let base = Path::new(out).join(name);
        let started = Instant::now();
        let cases = std::fs::read_to_string(file)?
            .lines()
            .map(serde_json::from_str::<serde_json::Value>)
            .collect::<Result<Vec<_>, _>>()?;
        let text =
            |case: &serde_json::Value, key: &str| case[key].as_str().unwrap_or_default().to_owned();
        let responses: Vec<String> = cases.iter().map(|case| text(case, "response")).collect();
        let pairs: Vec<String> = cases
            .iter()
            .map(|case| format!("{}\n{}", text(case, "prompt"), text(case, "response")))
            .collect();
        let ids: Vec<String> = cases.iter().map(|case| text(case, "id")).collect();
        std::fs::write(base.with_extension("ids"), ids.join("\n"))?;
        for (kind, texts) in [("response", &responses), ("pair", &pairs)] {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            write_npy(
                &base.with_extension(format!("{kind}.npy")),
                &encoder.read(&texts)?,
            )?;
        }
        println!("{file}: {} cases in {:.1?}", cases.len(), started.elapsed());
    }
    Ok(())
}

/// Version 1.0 of NumPy's format: a padded header, then the values.
fn write_npy(path: &Path, rows: &[Embedding]) -> Result<(), Box<dyn Error>> {
    let width = rows.first().map_or(0, |row| row.mean.len() + row.max.len());
    let mut header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}",
        rows.len()
    );
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header = format!("{header:<width$}\n", width = padded - 1);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&u16::try_from(header.len())?.to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for row in rows {
        for value in row.mean.iter().chain(&row.max) {
            file.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}
