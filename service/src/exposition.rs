//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

/// A text that grows family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family of samples: `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_whole_numbers_stay_whole() {
        let mut text = Exposition::default();
        text.family("runs", "gauge", "Runs.");
        text.sample("runs", &[("name", "a\"b\\c\nd"), ("kind", "x")], 2.0);
        text.single("sum", "gauge", "A sum.", -0.5);
        assert_eq!(
            text.finish(),
            "# HELP runs Runs.\n# TYPE runs gauge\nruns{name=\"a\\\"b\\\\c\\nd\",kind=\"x\"} 2\n\
             # HELP sum A sum.\n# TYPE sum gauge\nsum -0.5\n"
        );
    }
}
