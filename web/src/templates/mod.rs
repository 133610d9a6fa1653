//! The templates, embedded and compiled at start; every page has one typed context.

pub(crate) mod format;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use serde::Serialize;
use tera::{Context, Tera};

use crate::pages::Chrome;
use crate::problem::Problem;

/// The embedded templates cannot be compiled: the build is broken.
#[derive(Debug, thiserror::Error)]
#[error("an embedded template is broken: {0}")]
pub struct TemplateError(String);

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Every template by name, with its text.
        pub(crate) const FILES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../templates/", $name)))),*];
    };
}

files!(
    "base.html",
    "components.html",
    "jury.html",
    "charts.html",
    "effect.html",
    "proposals.html",
    "proposal.html",
    "proposal_new.html",
    "stake.html",
    "seals.html",
    "dashboard.html",
    "tour.html",
    "run.html",
    "markets.html",
    "market.html",
    "outcomes_main.html",
    "settlement_case.html",
    "outcomes_aside.html",
    "market_orders.html",
    "training_swarm.html",
    "market_manipulation.html",
    "portfolio.html",
    "history.html",
    "leaderboard.html",
    "calibration.html",
    "evidence.html",
    "evidence_form.html",
    "comments.html",
    "disputes.html",
    "allocations.html",
    "decision.html",
    "training_list.html",
    "training.html",
    "oracle.html",
    "policy.html",
    "policy_version.html",
    "policy_simulation.html",
    "panels.html",
    "panel.html",
    "ledger.html",
    "log.html",
    "jobs.html",
    "operations.html",
    "account.html",
    "security.html",
    "invitations.html",
    "webhooks.html",
    "notifications.html",
    "unsubscribe.html",
    "bell.html",
    "follow.html",
    "login.html",
    "signup.html",
    "setup.html",
    "reference.html",
    "error.html",
);

/// A page's context: exactly one type per template.
pub(crate) trait Page: Serialize {
    /// Name of its template.
    const TEMPLATE: &'static str;
    /// Event topics that make the page worth reloading, comma-separated; empty for a page that does not change.
    fn topics(&self) -> String {
        String::new()
    }
    /// The topic of what the page is about, where people can follow it.
    fn about(&self) -> Option<String> {
        None
    }
    /// Seconds after which the page is worth reloading even without an event; 0 for never. Training figures change
    /// continuously and are no facts of the outbox.
    fn every_s(&self) -> u32 {
        0
    }
}

/// The compiled templates.
#[derive(Debug)]
pub(crate) struct Templates {
    tera: Tera,
}

impl Templates {
    /// Compiles every template: syntax, filters, components and parents are checked here and not at the first visitor.
    pub(crate) fn load() -> Result<Self, TemplateError> {
        let mut tera = Tera::default();
        format::register(&mut tera);
        tera.add_raw_templates(FILES.iter().copied())
            .map_err(|error| TemplateError(explain(&error)))?;
        Ok(Self { tera })
    }

    /// Renders a page inside its chrome.
    pub(crate) fn render<P: Page>(&self, chrome: &Chrome, page: &P) -> Result<String, Problem> {
        let mut context =
            Context::from_serialize(page).map_err(|error| Problem::internal(explain(&error)))?;
        context.insert("chrome", chrome);
        context.insert("topics", &page.topics());
        context.insert("every_s", &page.every_s());
        self.tera
            .render(P::TEMPLATE, &context)
            .map_err(|error| Problem::internal(explain(&error)))
    }
}

/// The error with its causes, which name the line.
fn explain(error: &tera::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
