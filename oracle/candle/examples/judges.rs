//! Measures judges and their pool: `judges PROTOCOL FEATURES MOST JUDGE,… FILE.jsonl…`.
//!
//! FEATURES is a folder of what models made of the cases, as `features` writes it; of each file at most MOST rows are
//! taken. A judge is `lexical`, or the name of a feature file without its ending.

use std::error::Error;
use std::path::Path;

use plumbline_oracle::{
    Contender, Dataset, EvaluateOptions, ReaderIdentity, Widths, evaluate_judges,
};
use plumbline_oracle_candle::{FeatureFile, LearnOptions, TrainedStages};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [protocol, folder, most, judges, files @ ..] = arguments.as_slice() else {
        return Err("usage: judges PROTOCOL FEATURES MOST JUDGE,… FILE.jsonl…".into());
    };
    let mut sets = Vec::new();
    for file in files {
        let name = Path::new(file).file_stem().ok_or("no file name")?;
        let text = std::fs::read_to_string(file)?;
        sets.push(Dataset::from_jsonl(name.to_string_lossy(), &text)?.sampled(most.parse()?));
    }
    let mut note = |what: &str, done: f64| eprint!("\r{what} {:.0} %   ", 100.0 * done);
    let stages = TrainedStages::new(learning(), Some(folder.into()), &mut note);
    let mut contenders = Vec::new();
    for judge in judges.split(',') {
        contenders.push(match judge.split_once('-') {
            None if judge == "trained" => Contender::Staged(&stages),
            None => Contender::Lexical,
            Some((name, version)) => heads(name, version, Path::new(folder), &sets)?,
        });
    }
    let rows = evaluate_judges(&sets, &contenders, protocol.parse()?, &options())?;
    println!("| set | judge | protocol | cases | n | AUROC | Brier | base | log loss | ECE |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {} | {:.3} | {:.4} | {:.4} | {:.3} | {:.3} |",
            row.set,
            row.judge,
            row.protocol,
            row.cases,
            row.n,
            row.auroc,
            row.brier,
            row.base_rate_brier,
            row.log_loss,
            row.ece
        );
    }
    Ok(())
}

fn heads(
    name: &str,
    version: &str,
    folder: &Path,
    sets: &[Dataset],
) -> Result<Contender<'static>, Box<dyn Error>> {
    let width = if name == "encoder" { 384 } else { 640 };
    let reader = ReaderIdentity {
        name: name.to_owned(),
        version: version.to_owned(),
        widths: Widths {
            content: width,
            context: width,
            extra: if name == "encoder" { width } else { 0 },
        },
    };
    let mut file = FeatureFile::open(folder, &reader)?;
    let read = |set: &Dataset| file.read(None, &set.rows, &mut |_| {});
    let features = sets.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Contender::Heads {
        family: name.to_owned(),
        reader,
        features,
    })
}

fn options() -> EvaluateOptions {
    let mut options = EvaluateOptions::default();
    if let Ok(c) = std::env::var("HC") {
        options.train.head_costs = c.split(',').map(|x| x.parse().unwrap()).collect();
    }
    if let Ok(c) = std::env::var("CC") {
        options.train.cold_cost = c.parse().unwrap();
    }
    if let Ok(c) = std::env::var("SEED") {
        options.seed = c.parse().unwrap();
    }
    options
}

fn learning() -> LearnOptions {
    let mut options = LearnOptions::default();
    let get = |name: &str| std::env::var(name).ok();
    if let Some(x) = get("EPOCHS") {
        options.epochs = x.parse().unwrap();
    }
    if let Some(x) = get("RATE") {
        options.rate = x.parse().unwrap();
    }
    if let Some(x) = get("OUT") {
        options.left_out = x.parse().unwrap();
    }
    if let Some(x) = get("DECAY") {
        options.decay = x.parse().unwrap();
    }
    if let Some(x) = get("WIDTH") {
        options.model.width = x.parse().unwrap();
    }
    if let Some(x) = get("LAYERS") {
        options.model.layers = x.parse().unwrap();
    }
    if let Some(x) = get("FC") {
        options.family_cases = x.parse().unwrap();
    }
    options
}
