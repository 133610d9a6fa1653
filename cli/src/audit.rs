//! `plumbline audit`: takes the books out, checks them, and recomputes draws.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use clap::{Args, Subcommand};
use plumbline_audit::{Report, draws, hashes};

use crate::progress::spinner;

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Write the whole books of a service as JSON lines; it may be running
    Export(Export),
    /// Recompute everything in an export; exit code 1 if anything does not agree
    Verify(Verify),
    /// Recompute a draw from what was published of it
    Draw(Draw),
}

#[derive(Debug, Args)]
pub struct Export {
    /// Folder of the service
    #[arg(long, default_value = "data/serve", env = "PLUMBLINE_DATA_DIR")]
    data_dir: PathBuf,
    /// File to write; standard output by default
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// An export, or - for standard input
    file: PathBuf,
    /// An earlier export of the same service: nothing of its log may have been changed or taken out
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// A checkpoint that you kept, as its signed note: the log must still begin with it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// A public key of the service, base64 as in GET /api/v1/keys: none but the named ones may have signed
    #[arg(long = "key", value_name = "BASE64", value_parser = public_key)]
    keys: Vec<[u8; 32]>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Draw {
    /// The published seed, 64 hexadecimal digits
    #[arg(long, value_parser = digest)]
    seed: draws::Bytes,
    /// Head of the market's log at the draw, 64 hexadecimal digits
    #[arg(long, value_parser = digest)]
    head: draws::Bytes,
    /// What was drawn: close, audit, panel/ROUND or stop/TRADE
    #[arg(long)]
    purpose: String,
    /// Commitment that the market showed at its opening, to compare
    #[arg(long, value_parser = digest)]
    commitment: Option<draws::Bytes>,
    /// For a close: the closing window as milliseconds, to see where in it orders stopped
    #[arg(long)]
    window_ms: Option<i64>,
    /// For an audit: price at the freeze, to see whether the case was drawn
    #[arg(long, requires = "floor_bps", requires = "peak_bps")]
    price: Option<f64>,
    /// For an audit: least probability, basis points
    #[arg(long)]
    floor_bps: Option<u16>,
    /// For an audit: probability at even odds, basis points
    #[arg(long)]
    peak_bps: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn public_key(text: &str) -> std::result::Result<[u8; 32], String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "32 bytes as base64".to_owned())
}

fn digest(text: &str) -> std::result::Result<draws::Bytes, String> {
    hashes::parse(text).ok_or_else(|| "64 hexadecimal digits in lower case".to_owned())
}

impl Audit {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Export(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Draw(command) => command.run(),
        }
    }
}

impl Export {
    fn run(self) -> Result<()> {
        let database = self.data_dir.join("plumbline.db");
        let now = jiff::Timestamp::now().as_millisecond();
        let summary = match &self.out {
            None => {
                let mut out = BufWriter::new(std::io::stdout().lock());
                plumbline_service::audit::export_file(&database, now, &mut out)?
            }
            Some(path) => {
                let file = File::create(path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                let mut out = BufWriter::new(file);
                let summary = plumbline_service::audit::export_file(&database, now, &mut out)?;
                let file = out.into_inner().context("cannot write the export")?;
                file.sync_all().context("cannot write the export")?;
                summary
            }
        };
        eprintln!("{} rows, BLAKE3 {}", summary.rows, summary.blake3);
        Ok(())
    }
}

impl Verify {
    fn run(self) -> Result<()> {
        let bar = spinner("recomputing the books", self.json);
        let export = read(&self.file)?;
        let mut report = plumbline_audit::check(&export);
        if let Some(earlier) = &self.previous {
            plumbline_audit::check_extends(&read(earlier)?, &export, &mut report);
        }
        if let Some(path) = &self.checkpoint {
            let note = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            plumbline_audit::check_holds(&export, &note, &mut report);
        }
        if !self.keys.is_empty() {
            plumbline_audit::check_keys(&export, &self.keys, &mut report);
        }
        bar.finish_and_clear();
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print(&report)?;
        }
        if report.is_green() {
            return Ok(());
        }
        bail!("{} violations", report.violations_in_all);
    }
}

fn read(path: &Path) -> Result<plumbline_audit::record::Export> {
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Box::new(file)
    };
    Ok(plumbline_audit::read(BufReader::with_capacity(
        1 << 20,
        source,
    ))?)
}

fn print(report: &Report) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for (what, count) in &report.checked {
        writeln!(out, "{count:>12} {what}")?;
    }
    for violation in &report.violations {
        writeln!(out, "VIOLATION in {}: {}", violation.place, violation.what)?;
    }
    if report.is_green() {
        writeln!(out, "Everything agrees.")?;
    }
    Ok(())
}

impl Draw {
    fn run(self) -> Result<()> {
        let drawn = draws::draw(&self.seed, &self.head, &self.purpose);
        let unit = draws::unit(&drawn);
        let commitment = draws::commitment(&self.seed);
        let stop = self.window_ms.map(|window| (unit * window as f64) as i64);
        let phi = match (self.price, self.floor_bps, self.peak_bps) {
            (Some(price), Some(floor), Some(peak)) => {
                Some(draws::audit_probability(price, floor, peak))
            }
            _ => None,
        };
        let answer = serde_json::json!({
            "commitment": hex(&commitment),
            "draw": hex(&drawn),
            "unit": unit,
            "stops_after_ms": stop,
            "audit_probability": phi,
            "audited": phi.map(|phi| unit < phi),
        });
        if self.json {
            println!("{answer}");
        } else {
            println!("commitment {}", hex(&commitment));
            println!("draw       {}", hex(&drawn));
            println!("unit       {unit}");
            if let Some(stop) = stop {
                println!("orders stopped {stop} ms after the window began");
            }
            if let Some(phi) = phi {
                let verdict = if unit < phi { "audited" } else { "not audited" };
                println!("{verdict}: the probability was {phi}");
            }
        }
        match self.commitment {
            Some(shown) if shown != commitment => {
                bail!("the seed is not the one that was committed")
            }
            _ => Ok(()),
        }
    }
}

fn hex(bytes: &draws::Bytes) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
