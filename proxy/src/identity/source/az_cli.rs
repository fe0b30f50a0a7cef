//! `az account get-access-token`, for developers: the token of whoever is logged in.

use std::ffi::OsStr;
use std::io;
use std::process::{Output, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use azure_identity::{AzureCliCredential, AzureCliCredentialOptions, Executor};
use tokio::process::Command;

use crate::identity::failure::{Failure, FailureClass};

use super::{Fetched, ask, told};

/// What to try, whatever it says.
pub(in crate::identity) const HINT: &str =
    "try `az account get-access-token` yourself, as the same user; `az login` if it asks for it";

/// The Azure CLI of this machine.
pub(in crate::identity) struct AzCli {
    scope: String,
    shell: Arc<dyn Executor>,
}

impl AzCli {
    pub(in crate::identity) fn new(scope: String) -> Self {
        Self {
            scope,
            shell: Arc::new(Shell),
        }
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, Failure> {
        let options = AzureCliCredentialOptions {
            executor: Some(Arc::clone(&self.shell)),
            ..AzureCliCredentialOptions::default()
        };
        let credential = AzureCliCredential::new(Some(options)).map_err(|error| told(&error))?;
        ask(credential, &self.scope)
            .await
            .map_err(|failure| Failure {
                class: FailureClass::Tool,
                hint: HINT.into(),
                ..failure
            })
    }
}

/// Runs the command so that it ends with the question: azure_identity's own would leave it behind.
#[derive(Debug)]
struct Shell;

#[async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[derive(Debug)]
    struct Canned(i32, &'static str, &'static str);

    #[async_trait]
    impl Executor for Canned {
        async fn run(&self, _: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
            let command = args.last().and_then(|arg| arg.to_str()).unwrap();
            assert!(
                command.contains("--scope https://example.com/.default"),
                "{command}"
            );
            Ok(Output {
                status: ExitStatus::from_raw(self.0 << 8),
                stdout: self.1.as_bytes().to_vec(),
                stderr: self.2.as_bytes().to_vec(),
            })
        }
    }

    fn az(code: i32, stdout: &'static str, stderr: &'static str) -> AzCli {
        AzCli {
            scope: "https://example.com/.default".to_owned(),
            shell: Arc::new(Canned(code, stdout, stderr)),
        }
    }

    #[tokio::test]
    async fn the_token_of_az_is_taken() {
        let answer = r#"{"accessToken":"abc","expires_on":4102444800,"tokenType":"Bearer"}"#;
        let Fetched::Token { secret, expires_at } = az(0, answer, "").fetch().await.unwrap() else {
            panic!("a file's answer");
        };
        assert_eq!(secret.as_str(), "abc");
        let since = expires_at
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert_eq!(since.as_secs(), 4_102_444_800);
    }

    #[tokio::test]
    async fn what_az_says_is_passed_on_but_never_what_it_answers() {
        let failure = az(1, "", "ERROR: Please run 'az login'")
            .fetch()
            .await
            .err()
            .unwrap();
        assert_eq!(failure.class, FailureClass::Tool);
        assert!(
            failure.to_string().contains("Please run 'az login'"),
            "{failure}"
        );
        let failure = az(127, "", "sh: 1: az: not").fetch().await.err().unwrap();
        assert!(
            failure.to_string().contains("az not found on PATH"),
            "{failure}"
        );
        let failure = az(0, "\"the-token\"", "").fetch().await.err().unwrap();
        assert!(!failure.to_string().contains("the-token"), "{failure}");
    }

    #[tokio::test]
    async fn a_command_ends_with_its_question() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("sleep 1; touch {}", mark.display());
        let args = [OsStr::new("-c"), OsStr::new(&script)];
        let limit = std::time::Duration::from_millis(100);
        let outcome = tokio::time::timeout(limit, Shell.run(OsStr::new("/bin/sh"), &args)).await;
        assert!(outcome.is_err(), "still running");
        tokio::time::sleep(std::time::Duration::from_millis(1400)).await;
        assert!(
            !mark.exists(),
            "the shell went on after its question was dropped"
        );
    }
}
