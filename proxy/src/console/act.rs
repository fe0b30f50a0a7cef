//! Carrying commands out.

use std::sync::Arc;
use std::time::Duration;

use entrapool_protocol::postgres::console::{Answer, Command, Shutdown};
use entrapool_protocol::postgres::message::Report;

use super::{Console, DATABASES, LOOK, Lever, Victims, report};
use crate::pool::Turn;

/// How long KILL waits for what it ends.
const PATIENCE: Duration = Duration::from_secs(5);

impl Console {
    /// Carries `command` out. Some take until clients have done their part; a future that is
    /// dropped leaves what was begun.
    pub(super) async fn run(&self, command: &Command) -> Answer {
        let done = match command {
            Command::Show(show) => return Answer::Rows(self.show(*show)),
            Command::Pause(name) => self.pause(name.as_deref()).await,
            Command::Resume(name) => self.resume(name.as_deref()),
            Command::Reconnect(name) => self.reconnect(name.as_deref()),
            Command::Kill(name) => self.kill(name.as_deref()).await,
            Command::KillClient(number) => self.kill_client(*number),
            Command::WaitClose(name) => self.wait_close(name.as_deref()).await,
            Command::Reload => self.reload().await,
            Command::Shutdown(how) => self.shut_down(*how),
            // The conversation answers these itself.
            Command::Parameter(_) | Command::Ping | Command::Set => Ok(()),
        };
        match done {
            Ok(()) => Answer::Done,
            Err(report) => Answer::Refused(report),
        }
    }

    /// What becomes of a command whose client waits no longer for it: clients are not held back
    /// for nobody, as in PgBouncer. Returns whether that was so.
    pub(super) fn give_up(&self, command: &Command) -> bool {
        match command {
            Command::Pause(name) => self.resume(name.as_deref()).is_ok(),
            _ => false,
        }
    }

    async fn pause(&self, name: Option<&str>) -> Result<(), Report> {
        let levers = self.pick(name)?;
        let changed = levers
            .iter()
            .filter(|lever| lever.turn(Turn::Pause))
            .count();
        if changed == 0 {
            return Err(report::already_paused());
        }
        log("PAUSE", &levers);
        settled(&levers).await;
        Ok(())
    }

    fn resume(&self, name: Option<&str>) -> Result<(), Report> {
        let levers = self.pick(name)?;
        let changed = levers
            .iter()
            .filter(|lever| lever.turn(Turn::Resume))
            .count();
        if changed == 0 {
            return Err(report::not_paused());
        }
        log("RESUME", &levers);
        Ok(())
    }

    fn reconnect(&self, name: Option<&str>) -> Result<(), Report> {
        let levers = self.pick(name)?;
        for lever in &levers {
            lever.turn(Turn::Replace);
        }
        log("RECONNECT", &levers);
        Ok(())
    }

    /// Clients that come now find the valve shut, so that nobody is overlooked.
    async fn kill(&self, name: Option<&str>) -> Result<(), Report> {
        let levers = self.pick(name)?;
        for lever in &levers {
            lever.turn(Turn::Pause);
        }
        log("KILL", &levers);
        for lever in &levers {
            self.house.kill(Victims::Route(&lever.config().name));
        }
        // A client that waits for its greeting goes when there is a backend for it.
        let _ = tokio::time::timeout(PATIENCE, settled(&levers)).await;
        Ok(())
    }

    fn kill_client(&self, number: u64) -> Result<(), Report> {
        if self.house.kill(Victims::Client(number)) == 0 {
            return Err(report::no_client(number));
        }
        tracing::info!(client = number, "KILL_CLIENT on the console");
        Ok(())
    }

    async fn wait_close(&self, name: Option<&str>) -> Result<(), Report> {
        let levers = self.pick(name)?;
        settled(&levers).await;
        Ok(())
    }

    async fn reload(&self) -> Result<(), Report> {
        tracing::info!("RELOAD on the console");
        let reloaded = self.house.reload().await;
        reloaded
            .map(drop)
            .map_err(|refusal| report::not_reloaded(&refusal))
    }

    fn shut_down(&self, how: Shutdown) -> Result<(), Report> {
        match how {
            Shutdown::Drain | Shutdown::WaitForServers => {
                tracing::info!("SHUTDOWN on the console");
                self.house.shut_down();
                Ok(())
            }
            Shutdown::WaitForClients => Err(report::no_waiting_for_clients()),
        }
    }

    /// The routes that a name stands for: its own, or the one whose database has it. Without a
    /// name, all.
    fn pick(&self, name: Option<&str>) -> Result<Vec<Arc<dyn Lever>>, Report> {
        let levers = self.house.levers();
        let Some(name) = name else {
            return Ok(levers);
        };
        if let Some(lever) = levers.iter().find(|lever| lever.config().name == name) {
            return Ok(vec![Arc::clone(lever)]);
        }
        let of_database = levers
            .iter()
            .filter(|lever| lever.config().database() == Some(name));
        let of_database: Vec<Arc<dyn Lever>> = of_database.map(Arc::clone).collect();
        match of_database.as_slice() {
            [_] => Ok(of_database),
            [] if DATABASES.contains(&name) => Err(report::itself(name)),
            [] => {
                let known = levers.iter().map(|lever| lever.config().name.clone());
                Err(report::no_database(name, &known.collect::<Vec<_>>()))
            }
            several => {
                let routes = several.iter().map(|lever| lever.config().name.as_str());
                Err(report::ambiguous(name, &routes.collect::<Vec<_>>()))
            }
        }
    }
}

/// Waits until every backend that is to be closed is closed.
async fn settled(levers: &[Arc<dyn Lever>]) {
    let unsettled = |lever: &Arc<dyn Lever>| lever.standing().unsettled > 0;
    while levers.iter().any(unsettled) {
        tokio::time::sleep(LOOK).await;
    }
}

fn log(command: &str, levers: &[Arc<dyn Lever>]) {
    let routes: Vec<_> = levers
        .iter()
        .map(|lever| lever.config().name.as_str())
        .collect();
    tracing::info!(routes = routes.join(","), "{command} on the console");
}
