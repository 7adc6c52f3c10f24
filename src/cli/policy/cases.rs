//! `bulla policy test`: a file of cases, each a question and its expected answer.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bulla_client::kms;
use serde::Deserialize;

use super::simulate::{answer, proposed};
use crate::cli::Session;
use crate::cli::failure::{Exit, Failure};
use crate::cli::json::Json;
use crate::cli::table::Table;
use crate::cli::time;

/// The file. A field that it does not know is a mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    /// `ID.cedar` files to be put, beside this one.
    #[serde(default)]
    policies: Vec<PathBuf>,
    /// Policies to be deleted.
    #[serde(default)]
    delete: Vec<String>,
    case: Vec<Case>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    principal: String,
    action: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    encryption_context: BTreeMap<String, String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    #[serde(default)]
    credential_kind: String,
    #[serde(default)]
    source_address: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    end_user: String,
    /// What the answer must be.
    allowed: bool,
    /// The class of the refusal, where that matters.
    class: Option<String>,
}

/// Asks every case and says which are not as expected.
pub(super) async fn run(session: &Session, path: &Path) -> Result<(), Failure> {
    let file = read(path)?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let policies: Vec<_> = file.policies.iter().map(|policy| beside.join(policy)).collect();
    let questions = file.case.iter().map(Case::question);
    let request = kms::SimulatePoliciesRequest {
        put: proposed(&policies)?,
        delete: file.delete.clone(),
        cases: questions.collect::<Result<_, _>>()?,
        replay: 0,
    };
    let response = session.client().await?.simulate_policies(request).await?;
    if response.decisions.len() != file.case.len() {
        return Err(Failure::new(Exit::Internal, "the server did not answer every case"));
    }
    let answered: Vec<_> = file.case.iter().zip(&response.decisions).collect();
    let failed = answered.iter().filter(|(case, decision)| !case.is_met(decision)).count();
    session.printer.answer(&json(&answered), || table(&answered))?;
    match failed {
        0 => Ok(()),
        failed => {
            let what = format!("{failed} of {} cases are not as expected", answered.len());
            Err(Failure::new(Exit::NotSafe, what))
        }
    }
}

fn read(path: &Path) -> Result<CaseFile, Failure> {
    let opened = std::fs::File::open(path).map_err(|error| Failure::input(path, &error))?;
    let mut text = String::new();
    opened
        .take(CASE_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::input(path, &error))?;
    toml::from_str(&text).map_err(|error| {
        Failure::new(Exit::Data, format!("{}: {}", path.display(), error.message()))
    })
}

// === impl Case ===

impl Case {
    fn question(&self) -> Result<kms::Question, Failure> {
        let time = match self.time.as_str() {
            "" => None,
            text => Some(time::parse_time(text).map_err(|wrong| {
                Failure::new(Exit::Data, format!("case {:?}: {wrong}", self.name))
            })?),
        };
        Ok(kms::Question {
            principal: self.principal.clone(),
            action: self.action.clone(),
            key: self.key.clone(),
            encryption_context: self.encryption_context.clone(),
            groups: self.groups.clone(),
            claims: self.claims.clone(),
            credential_kind: self.credential_kind.clone(),
            source_address: self.source_address.clone(),
            time,
            end_user: self.end_user.clone(),
        })
    }

    fn is_met(&self, decision: &kms::Decision) -> bool {
        self.allowed == decision.allowed
            && self.class.as_ref().is_none_or(|class| *class == decision.class)
    }

    fn expected(&self) -> String {
        match (&self.class, self.allowed) {
            (Some(class), _) => class.clone(),
            (None, true) => "allowed".to_owned(),
            (None, false) => "refused".to_owned(),
        }
    }
}

fn table(answered: &[(&Case, &kms::Decision)]) -> String {
    let mut table = Table::new(&["case", "expected", "answer", "result"]);
    for (case, decision) in answered {
        let result = if case.is_met(decision) { "ok" } else { "FAILED" };
        table.row([case.name.clone(), case.expected(), answer(Some(decision)), result.to_owned()]);
    }
    table.render("no cases")
}

fn json(answered: &[(&Case, &kms::Decision)]) -> Json {
    let one = |(case, decision): &(&Case, &kms::Decision)| {
        Json::object([
            ("case", Json::text(&case.name)),
            ("expected", Json::text(case.expected())),
            ("allowed", Json::Bool(decision.allowed)),
            ("class", Json::text(&decision.class)),
            ("policies", Json::List(decision.policies.iter().map(Json::text).collect())),
            ("ok", Json::Bool(case.is_met(decision))),
        ])
    };
    Json::object([("cases", Json::List(answered.iter().map(one).collect()))])
}

/// As large as a request may be.
const CASE_FILE_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const CASES: &str = r#"
        policies = ["office-hours.cedar"]
        [[case]]
        name = "by day"
        principal = "spiffe://one.test/app"
        action = "crypto.decrypt"
        time = "2027-01-15T08:00:00Z"
        allowed = true
        [[case]]
        name = "by night"
        principal = "spiffe://one.test/app"
        action = "crypto.decrypt"
        allowed = false
        class = "forbidden"
    "#;

    #[test]
    fn a_case_is_met_by_its_answer_and_its_class() {
        let file: CaseFile = toml::from_str(CASES).unwrap();
        let decision = |allowed, class: &str| kms::Decision {
            allowed,
            class: class.to_owned(),
            policies: vec!["office-hours".to_owned()],
            errors: Vec::new(),
        };
        let [day, night] = &file.case[..] else { panic!("two cases") };
        assert_eq!(day.question().unwrap().time.unwrap().seconds, 1_800_000_000);
        assert!(day.is_met(&decision(true, "")) && !day.is_met(&decision(false, "no_policy")));
        assert!(night.is_met(&decision(false, "forbidden")));
        assert!(!night.is_met(&decision(false, "no_policy")) && !night.is_met(&decision(true, "")));
        assert_eq!(
            table(&[(day, &decision(true, "")), (night, &decision(true, ""))]),
            "CASE      EXPECTED   ANSWER                   RESULT\n\
             by day    allowed    allowed by office-hours  ok\n\
             by night  forbidden  allowed by office-hours  FAILED\n"
        );
    }

    #[test]
    fn a_field_that_nobody_reads_is_a_mistake() {
        assert!(toml::from_str::<CaseFile>(&CASES.replace("class =", "clas =")).is_err());
        assert!(toml::from_str::<CaseFile>(&CASES.replace("allowed = true", "")).is_err());
    }
}
