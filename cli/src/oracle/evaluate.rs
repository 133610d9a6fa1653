//! `plumbline oracle evaluate`.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use plumbline_oracle::{EvaluateOptions, EvaluationRow, Protocol, TrainOptions, evaluate_judges};

use super::contest::{Cases, Learner, with_contenders};
use crate::progress::spinner;

/// The pool of the judges that are there is what a price follows, so it is what is measured unless a judge is named.
#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(flatten)]
    cases: Cases,
    /// What is held out
    #[arg(long, value_enum, default_value_t = Held::InDomain)]
    protocol: Held,
    /// A judge, several with commas (their pool), `pool` (of those that are there) or `all` (each, and the pool)
    #[arg(long, value_enum, value_delimiter = ',', default_value = "pool")]
    judge: Vec<Subject>,
    /// Seed of folds and draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a list of JSON objects
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Held {
    /// Groups of the same set
    InDomain,
    /// The whole set
    LeaveOneOut,
    /// All of the set but 50, 200 or 1000 cases
    FewShot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Words and characters
    Lexical,
    /// A sentence encoder (`make models`)
    Encoder,
    /// A language model (`make models`); reads a few cases a second
    Causal,
    /// A small transformer that is itself taught on the cases
    Trained,
    /// The pool of lexical, trained and, where its model is, encoder
    Pool,
    /// Each of them, and the pool
    All,
}

impl Subject {
    fn learner(self) -> Option<Learner> {
        match self {
            Self::Lexical => Some(Learner::Lexical),
            Self::Encoder => Some(Learner::Encoder),
            Self::Causal => Some(Learner::Causal),
            Self::Trained => Some(Learner::Trained),
            Self::Pool | Self::All => None,
        }
    }
}

impl Evaluate {
    pub fn run(self) -> Result<()> {
        let sets = self.cases.read()?;
        let protocol = match self.protocol {
            Held::InDomain => Protocol::InDomain,
            Held::LeaveOneOut => Protocol::LeaveOneOut,
            Held::FewShot => Protocol::FewShot,
        };
        if protocol != Protocol::InDomain && sets.len() < 2 {
            bail!("this protocol trains on the other sets: give at least two files with --data");
        }
        let options = EvaluateOptions {
            seed: self.seed,
            train: TrainOptions {
                seed: self.seed,
                ..TrainOptions::default()
            },
            ..EvaluateOptions::default()
        };
        let learners = self.learners()?;
        let message = format!("fitting and scoring {} sets", sets.len());
        let bar = spinner(&message, self.json);
        let mut rows = with_contenders(&self.cases, &sets, &learners, &bar, |contenders| {
            bar.set_message(message.clone());
            Ok(evaluate_judges(&sets, contenders, protocol, &options)?)
        })?;
        bar.finish_and_clear();
        if learners.len() > 1 && !self.judge.contains(&Subject::All) {
            rows.retain(|row| row.judge == plumbline_oracle::evaluate::POOL);
        }
        if self.json {
            println!("{}", serde_json::to_string(&rows)?);
        } else {
            print_table(&rows);
        }
        Ok(())
    }

    /// The judges to fit, each once, those that are there where none is named.
    fn learners(&self) -> Result<Vec<Learner>> {
        let mut named: Vec<Learner> = Vec::new();
        for learner in self.judge.iter().filter_map(|subject| subject.learner()) {
            if !named.contains(&learner) {
                named.push(learner);
            }
        }
        if named.is_empty() {
            named.extend([Learner::Lexical, Learner::Trained]);
            match self.cases.reader(Learner::Encoder) {
                Ok(_) => named.push(Learner::Encoder),
                Err(error) => eprintln!("without the encoder: {error:#}"),
            }
        }
        Ok(named)
    }
}

fn print_table(rows: &[EvaluationRow]) {
    println!(
        "{:26} {:8} {:13} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6}",
        "set",
        "judge",
        "protocol",
        "cases",
        "n",
        "auroc",
        "brier",
        "base",
        "logloss",
        "ece",
        "prompt",
        "length"
    );
    for row in rows {
        println!(
            "{:26} {:8} {:13} {:6} {:6} {:6.3} {:6.3} {:6.3} {:7.3} {:6.3} {:6.3} {:6.3}",
            row.set,
            row.judge,
            row.protocol.to_string(),
            row.cases,
            row.n,
            row.auroc,
            row.brier,
            row.base_rate_brier,
            row.log_loss,
            row.ece,
            row.prompt_only_auroc,
            row.length_only_auroc
        );
    }
}
