//! Measures the shipped lexical judge under every attack: `robustness CASES FILE.jsonl …`

use std::error::Error;
use std::path::Path;

use plumbline_oracle::robustness::measure;
use plumbline_oracle::{Dataset, LexicalJudge};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count: usize = arguments.first().map_or(Ok(100), |text| text.parse())?;
    let judge = LexicalJudge::shipped()?;
    let mut rows = Vec::new();
    for file in arguments.iter().skip(1) {
        let name = Path::new(file).file_stem().and_then(|stem| stem.to_str());
        let set = Dataset::from_jsonl(name.unwrap_or(file), &std::fs::read_to_string(file)?)?;
        let step = (set.rows.len() / count.max(1)).max(1);
        rows.extend(set.rows.into_iter().step_by(step));
    }
    for row in measure(&judge, &rows, 1)? {
        println!(
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:+.2} | {:.1} % |",
            row.judge,
            row.attack,
            row.cases,
            row.mean_shift,
            row.p95_shift,
            row.max_shift,
            row.towards_aim,
            100.0 * row.flips
        );
    }
    Ok(())
}
