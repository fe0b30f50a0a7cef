//! `entrapool ctl`: asks the running program, and shows what it says.
//!
//! `main` calls [`run`] and prints the result. It knows nothing but the control socket: what is
//! to be done is done over there.

mod call;
mod show;
mod table;

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::cli::Exit;
use crate::config::{CtlCommand, CtlOptions, CtlOutput, Environment, Listen, control_address};
use crate::status::{Client, Pool, Server, Token};
use call::{CallError, Reply, call};

/// How often a program that is not ready yet is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CtlError {
    message: String,
    exit: Exit,
}

impl CtlError {
    fn new(exit: Exit, message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            exit,
        }
    }

    /// The exit code of a process that ends with this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// Does what `options` say; returns what is to be printed.
///
/// # Errors
/// [`CtlError`].
pub async fn run(options: &CtlOptions, env: &dyn Environment) -> Result<String, CtlError> {
    let place = control_address(options.socket.as_deref(), env)
        .map_err(|problem| CtlError::new(Exit::Configuration, problem))?;
    let program = Program {
        place,
        output: options.output(),
    };
    match &options.command {
        CtlCommand::Status => program.show("/status", show::status).await,
        CtlCommand::Pools => {
            program
                .show("/pools", |rows: &Vec<Pool>| show::pools(rows))
                .await
        }
        CtlCommand::Clients => {
            program
                .show("/clients", |rows: &Vec<Client>| show::clients(rows))
                .await
        }
        CtlCommand::Servers => {
            program
                .show("/servers", |rows: &Vec<Server>| show::servers(rows))
                .await
        }
        CtlCommand::Tokens => {
            program
                .show("/tokens", |rows: &Vec<Token>| show::tokens(rows))
                .await
        }
        CtlCommand::Reload => program.show("/reload", show::reloaded).await,
        CtlCommand::LogLevel { filter } => program.log_level(filter.as_deref()).await,
        CtlCommand::Quit => {
            program
                .show("/quit", |_: &Value| "stopping at once\n".to_owned())
                .await
        }
        CtlCommand::Drain { wait } => program.drain(*wait).await,
        CtlCommand::Wait { timeout } => program.wait(*timeout).await,
    }
}

/// The running program, seen from here.
struct Program {
    place: Listen,
    output: CtlOutput,
}

impl Program {
    /// Asks once; `show` is for people.
    async fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        show: impl FnOnce(&T) -> String,
    ) -> Result<String, CtlError> {
        let reply = self.ask(path, "").await?;
        self.present(&reply, show)
    }

    fn present<T: DeserializeOwned>(
        &self,
        reply: &Reply,
        show: impl FnOnce(&T) -> String,
    ) -> Result<String, CtlError> {
        match self.output {
            CtlOutput::Json => Ok(reply.body.clone()),
            CtlOutput::Table => match serde_json::from_str(&reply.body) {
                Ok(value) => Ok(show(&value)),
                Err(error) => Err(CtlError::new(
                    Exit::Failure,
                    format!(
                        "the answer of {} is not understood ({error}); is it another version of \
                         entrapool? -o json shows it as it is",
                        self.place
                    ),
                )),
            },
        }
    }

    /// Asks once; anything but a success is an error.
    async fn ask(&self, path: &str, body: &str) -> Result<Reply, CtlError> {
        let reply = call(&self.place, path, body).await;
        let reply = reply.map_err(|error| self.lost(&error))?;
        match reply.is_success() {
            true => Ok(reply),
            false => Err(CtlError::new(Exit::Failure, reply.error())),
        }
    }

    fn lost(&self, error: &CallError) -> CtlError {
        let place = &self.place;
        let advice = match error {
            CallError::Denied(_) => {
                return CtlError::new(
                    Exit::Failure,
                    format!(
                        "{place}: {error}; run ctl as the user that entrapool runs as, as root, or \
                         as a member of control.group"
                    ),
                );
            }
            CallError::Connect(_) => {
                "is entrapool running, with control.listen set to this? See --socket"
            }
            CallError::Talk(_) => "is that entrapool's control.listen?",
            CallError::Timeout => "see its log",
        };
        CtlError::new(Exit::NotRunning, format!("{place}: {error}; {advice}"))
    }

    async fn log_level(&self, filter: Option<&str>) -> Result<String, CtlError> {
        let reply = self.ask("/log-level", filter.unwrap_or_default()).await?;
        self.present(&reply, |said: &Value| {
            let word = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
            match word("before") {
                "" => format!("{}\n", word("level")),
                before => format!("{before} -> {}\n", word("level")),
            }
        })
    }

    async fn drain(&self, wait: bool) -> Result<String, CtlError> {
        let said = self
            .show("/drain", |said: &Value| {
                let clients = said.get("clients").and_then(Value::as_u64);
                format!("draining {} clients\n", clients.unwrap_or_default())
            })
            .await?;
        if wait {
            self.ended().await;
        }
        Ok(said)
    }

    /// Nobody answers any more.
    async fn ended(&self) {
        while let Ok(_) | Err(CallError::Timeout) = call(&self.place, "/ready", "").await {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Also waits for the program to begin.
    async fn wait(&self, limit: Duration) -> Result<String, CtlError> {
        let began = Instant::now();
        loop {
            let outcome = match call(&self.place, "/ready", "").await {
                Ok(reply) if reply.is_success() => {
                    return self.present(&reply, |_: &Value| "ready\n".to_owned());
                }
                // Another one of these will not change who we are.
                Err(error @ CallError::Denied(_)) => return Err(self.lost(&error)),
                Ok(reply) if reply.is_forbidden() => {
                    return Err(CtlError::new(Exit::Failure, reply.error()));
                }
                Ok(reply) => Ok(show::not_ready(&reply.body)),
                Err(error) => Err(self.lost(&error)),
            };
            if began.elapsed() + AGAIN < limit {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            return Err(match outcome {
                Ok(why) => {
                    CtlError::new(Exit::Failure, format!("not ready after {limit:?}: {why}"))
                }
                Err(lost) => lost,
            });
        }
    }
}
