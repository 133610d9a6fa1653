//! Runs a few seeds without building the rest of the program: `cargo run --release -p
//! plumbline-simulation --example simulate -- FROM SEEDS JOBS`.

use plumbline_service::defences::Defences;
use plumbline_simulation::{Options, Scale, simulate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let [from, seeds, jobs] = numbers[..] else {
        return Err("three numbers: first seed, seeds, jobs".into());
    };
    let options = Options {
        from,
        seeds,
        jobs: jobs as usize,
        scale: Scale::default(),
        defences: Defences::default(),
    };
    let summary = simulate(&options, |seed, findings| {
        eprintln!("seed {seed}: {} violations", findings.len());
    })?;
    println!("{}", serde_json::to_string_pretty(&summary)?);
    Ok(())
}
