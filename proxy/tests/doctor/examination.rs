//! Running the doctor, and reading what it says.

use std::process::{Output, Stdio};

use entrapool_emulator::tds::{TdsServer, TdsServerBuilder};
use entrapool_emulator::{LocalAzure, ServerChoice};
use serde_json::Value;

use crate::sidecar::{Launch, PATIENCE, Sidecar, binary};

/// The steps, in their order.
pub(crate) const STEPS: [&str; 8] = [
    "configuration",
    "identity",
    "claims",
    "resolve",
    "tcp",
    "tls",
    "login",
    "query",
];

/// A local Azure whose servers are stand-ins: quick to start, and free to be broken.
pub(crate) async fn azure() -> LocalAzure {
    let builder = LocalAzure::builder().server(ServerChoice::Embedded);
    builder.start().await.expect("the local Azure starts")
}

/// A TDS server in it.
pub(crate) async fn sql_server(
    azure: &LocalAzure,
    change: impl FnOnce(TdsServerBuilder) -> TdsServerBuilder,
) -> TdsServer {
    let builder = change(azure.sql_server().expect("a certificate"));
    builder.start().await.expect("the server starts")
}

/// An examination that is to be made.
pub(crate) struct Examination {
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Examination {
    /// With these arguments.
    pub(crate) fn of(arguments: &[&str]) -> Self {
        Self {
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            variables: Vec::new(),
        }
    }

    /// Of a route; its steps end soon.
    pub(crate) fn on(launch: &Launch) -> Self {
        Self::of(&[&launch.route()]).argument("--timeout=5s")
    }

    /// One more argument.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// One more variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What it says for scripts.
    pub(crate) async fn json(self) -> Diagnosis {
        let output = self.argument("--json").run().await;
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Diagnosis {
            exit: output.status.code().expect("no signal ended it"),
            json,
        }
    }

    /// What it says to people, and how it ends.
    pub(crate) async fn text(self) -> (String, i32) {
        let output = self.run().await;
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (text, output.status.code().expect("no signal ended it"))
    }

    async fn run(self) -> Output {
        let output = binary()
            .arg("doctor")
            .args(&self.arguments)
            .envs(self.variables)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await;
        let output = output.expect("it ends").expect("the binary starts");
        for said in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(said);
            // The beginning of every JWT.
            assert!(!said.contains("eyJ"), "a token is shown: {said}");
            assert!(!said.contains("open-sesame"), "a password is shown: {said}");
        }
        output
    }
}

/// What the doctor says of one route.
pub(crate) struct Diagnosis {
    pub(crate) exit: i32,
    pub(crate) json: Value,
}

impl Diagnosis {
    fn route(&self) -> &Value {
        &self.json["routes"][0]
    }

    /// What it says of a step.
    pub(crate) fn step(&self, name: &str) -> &Value {
        let steps = self.route()["steps"].as_array().expect("steps");
        let found = steps.iter().find(|step| step["step"] == name);
        found.unwrap_or_else(|| panic!("no step {name}: {:#}", self.json))
    }

    /// How a step ended.
    pub(crate) fn outcome(&self, name: &str) -> &str {
        self.step(name)["outcome"].as_str().expect("an outcome")
    }

    /// A fact of a step.
    pub(crate) fn fact(&self, step: &str, name: &str) -> &str {
        let fact = &self.step(step)["facts"][name];
        fact.as_str()
            .unwrap_or_else(|| panic!("no fact {name}: {:#}", self.json))
    }

    /// Nothing has failed.
    pub(crate) fn is_good(&self) -> &Self {
        assert_eq!(self.exit, 0, "{:#}", self.json);
        assert_eq!(self.json["ok"], true);
        for step in STEPS {
            let outcome = self.outcome(step);
            assert!(matches!(outcome, "ok" | "skipped"), "{:#}", self.json);
        }
        self
    }

    /// A step warns of this.
    pub(crate) fn warns(&self, step: &str, cause: &str) -> &Self {
        assert_eq!(self.outcome(step), "warning", "{:#}", self.json);
        assert_eq!(self.step(step)["findings"][0]["cause"], cause);
        self
    }

    /// This step is the first that has failed, for this cause, and the remedy has these words.
    pub(crate) fn finds(&self, fault: &str, (step, cause, remedy): Wanted) -> &Self {
        println!("{fault:64} → {step:14} {cause}");
        assert_eq!(
            self.route()["failed_step"],
            step,
            "{fault}: {:#}",
            self.json
        );
        let finding = &self.step(step)["findings"][0];
        assert_eq!(finding["cause"], cause, "{fault}: {:#}", self.json);
        let said = finding["remedy"].as_str().expect("a remedy");
        assert!(said.contains(remedy), "{fault}: {said}");
        assert_ne!(finding["detail"], "", "{fault}: {:#}", self.json);
        let exit = match step {
            "configuration" => 2,
            "identity" | "claims" => 3,
            _ => 5,
        };
        assert_eq!((self.exit, &self.json["ok"]), (exit, &Value::Bool(false)));
        self
    }
}

/// Step, cause, and words of the remedy.
pub(crate) type Wanted = (&'static str, &'static str, &'static str);

/// Examines a route that has this fault.
pub(crate) async fn expect(fault: &str, launch: &Launch, wanted: Wanted) -> Diagnosis {
    let diagnosis = Examination::on(launch).json().await;
    diagnosis.finds(fault, wanted);
    diagnosis
}

/// The same where nothing answers: the step's limit is what ends it.
pub(crate) async fn expect_silence(fault: &str, launch: &Launch, wanted: Wanted) -> Diagnosis {
    let examination = Examination::of(&[&launch.route()]).argument("--timeout=1s");
    let diagnosis = examination.json().await;
    diagnosis.finds(fault, wanted);
    diagnosis
}

/// A route of each engine to the servers of `azure`.
pub(crate) fn both(azure: &LocalAzure, server: &TdsServer) -> [Launch; 2] {
    [Sidecar::on(azure), Sidecar::on_sql_server(azure, server)]
}
