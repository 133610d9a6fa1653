//! `cargo run --release -p plumbline-simulation --example worlds -- SEEDS [FROM [WITHOUT …]]`: worlds one
//! after the other without the rest of the binary, for a profiler and for many worlds without a defence.

use plumbline_service::defences::Defences;
use plumbline_simulation::{Options, Scale, simulate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let seeds = words.next().map_or(Ok(1), |text| text.parse::<u64>())?;
    let from = words.next().map_or(Ok(1), |text| text.parse::<u64>())?;
    let mut defences = Defences::default();
    for name in words {
        if !defences.switch_off(&name) {
            return Err(format!("there is no defence '{name}'").into());
        }
    }
    let options = Options {
        from,
        seeds,
        jobs: 1,
        scale: Scale::default(),
        defences,
    };
    let summary = simulate(&options, |seed, findings| {
        for finding in findings {
            eprintln!("seed {seed}: {}", finding.what);
        }
    })?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
