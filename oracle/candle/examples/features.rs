//! Reads labelled cases with a model and keeps what it made of them: `features encoder|causal MODEL FOLDER MOST THREADS FILE.jsonl…`.
//!
//! Of each file at most MOST rows are read, in the order in which `plumbline oracle evaluate --most` takes them.

// It measures time.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use plumbline_oracle::{Dataset, Reader, ReaderIdentity};
use plumbline_oracle_candle::{
    Causal, CausalOptions, CausalReader, Encoder, EncoderOptions, EncoderReader, FeatureFile,
    ModelSource,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, model, folder, most, threads, files @ ..] = arguments.as_slice() else {
        return Err("usage: features encoder|causal MODEL FOLDER MOST THREADS FILE.jsonl…".into());
    };
    let (source, threads): (ModelSource, usize) = (model.parse()?, threads.parse()?);
    let reader: Box<dyn Reader> = if kind == "encoder" {
        let options = EncoderOptions {
            threads,
            ..EncoderOptions::default()
        };
        let encoder = Encoder::load(&source.encoder_files()?, options)?;
        Box::new(EncoderReader::new(encoder))
    } else {
        let options = CausalOptions {
            threads,
            ..CausalOptions::default()
        };
        let causal = Causal::load(&source.gguf_file(None)?, options)?;
        Box::new(CausalReader::new(causal))
    };
    let mut kept = FeatureFile::open(Path::new(folder), &ReaderIdentity::of(&*reader))?;
    for file in files {
        let set =
            Dataset::from_jsonl(file, &std::fs::read_to_string(file)?)?.sampled(most.parse()?);
        let started = Instant::now();
        kept.read(Some(&*reader), &set.rows, &mut |done| {
            eprint!(
                "\r{file}: {done} of {} in {:.0?} ",
                set.rows.len(),
                started.elapsed()
            );
        })?;
        eprintln!();
    }
    Ok(())
}
