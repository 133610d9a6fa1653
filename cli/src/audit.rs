//! `plumbline audit`: takes the books out, checks them, and recomputes draws.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use plumbline_audit::{Report, draws, hashes};

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
        let source: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let file = File::open(&self.file)
                .with_context(|| format!("cannot read {}", self.file.display()))?;
            Box::new(file)
        };
        let report = plumbline_audit::verify(BufReader::with_capacity(1 << 20, source))?;
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
