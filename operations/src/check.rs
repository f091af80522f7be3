//! Findings of a check: what is there, what is wrong, and what to do about it.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but somebody should look.
    Warning,
    /// It does not work, or not safely.
    Error,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, in a few words that stay the same.
    pub subject: &'static str,
    /// What was found, a sentence without a full stop.
    pub found: String,
    /// What to do; nothing when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

/// The findings of a check, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Notes that something is as it should be.
    pub fn ok(&mut self, subject: &'static str, found: impl Into<String>) {
        self.findings.push(Finding { level: Level::Ok, subject, found: found.into(), todo: None });
    }

    /// Notes that somebody should look.
    pub fn warning(&mut self, subject: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.findings.push(Finding { level: Level::Warning, subject, found: found.into(), todo: Some(todo.into()) });
    }

    /// Notes that something does not work.
    pub fn error(&mut self, subject: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.findings.push(Finding { level: Level::Error, subject, found: found.into(), todo: Some(todo.into()) });
    }

    /// The worst of all findings; ok when there is none.
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|f| f.level).max().unwrap_or(Level::Ok)
    }

    /// 0 unless something is wrong; warnings do not fail a check.
    pub fn exit_code(&self) -> ExitCode {
        if self.worst() == Level::Error { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// The report as one JSON document: `{"result": "ok", "findings": [...]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "result": self.worst(), "findings": self.findings })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.subject.len()).max().unwrap_or(0);
        for Finding { level, subject, found, todo } in &self.findings {
            writeln!(f, "{level:<7}  {subject:<width$}  {found}")?;
            if let Some(todo) = todo {
                writeln!(f, "{:7}  {:width$}  → {todo}", "", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_report_reads_well_and_fails_on_errors_alone() {
        let mut report = Report::default();
        assert_eq!(report.worst(), Level::Ok);
        report.ok("data folder", "/var/lib/evertill is private and can be written");
        report.warning("Postgres", "it does not answer", "start it; tills go on meanwhile");
        assert_eq!(report.worst(), Level::Warning);
        assert_eq!(format!("{:?}", report.exit_code()), format!("{:?}", ExitCode::SUCCESS));
        report.error("port", "127.0.0.1:1 is taken", "stop the program that has it");
        assert_eq!(format!("{:?}", report.exit_code()), format!("{:?}", ExitCode::FAILURE));
        expect![[r#"
            ok       data folder  /var/lib/evertill is private and can be written
            warning  Postgres     it does not answer
                                  → start it; tills go on meanwhile
            error    port         127.0.0.1:1 is taken
                                  → stop the program that has it
        "#]]
        .assert_eq(&report.to_string());
        let json = report.to_json();
        assert_eq!((&json["result"], &json["findings"][0]["level"]), (&"error".into(), &"ok".into()));
    }
}
