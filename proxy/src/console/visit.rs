//! One client of the console, from its StartupMessage to its end.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use entrapool_metrics::Cause;
use entrapool_protocol::postgres::Status;
use entrapool_protocol::postgres::console::{Answer, Command, Conversation, Step, greeting};
use entrapool_protocol::postgres::message::{self, Report};
use entrapool_protocol::postgres::startup::Startup;

use super::{Console, report, rights};
use crate::session::ending::Ending;
use crate::session::registry::{KeyLength, Origin, Phase, Registered, Registry, Signal};
use crate::session::wire::{READ, Socket};

/// How long a client may take to read an answer.
const READING: Duration = Duration::from_secs(30);
/// Most bytes that wait to be sent, before they are.
const MOST_OUT: usize = 64 * 1024;

/// A client that has named the console's database.
pub struct Visitor {
    /// Its connection.
    pub client: Socket,
    /// What it said.
    pub startup: Startup,
    /// What it has sent behind that.
    pub ahead: Vec<u8>,
    /// Where it is entered, so that cancel requests and the drain reach it.
    pub registry: Arc<Registry>,
}

/// A client that has been let in.
struct Visit {
    client: Socket,
    registered: Registered,
    conversation: Conversation,
    input: Vec<u8>,
    out: Vec<u8>,
}

/// Why a command's end is not waited for.
enum Interrupt {
    /// The visit ends.
    End(End),
    /// The client has sent a cancel request.
    Cancelled,
}

/// The end of a visit, with what the client is still to be told.
struct End {
    cause: Cause,
    report: Option<Report>,
}

impl End {
    fn silent(cause: Cause) -> Self {
        Self {
            cause,
            report: None,
        }
    }

    fn told(cause: Cause, report: Report) -> Self {
        Self {
            cause,
            report: Some(report),
        }
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::silent(Cause::Gone)
    }
}

impl Console {
    /// Serves a client to its end; returns what ended it, and the process id that it was given (0
    /// if it was not let in).
    pub async fn receive(&self, visitor: Visitor) -> (Ending, i32) {
        let Visitor {
            mut client,
            startup,
            ahead,
            registry,
        } = visitor;
        let registered = match self.let_in(&client, &startup, &registry).await {
            Ok(registered) => registered,
            Err((cause, report)) => {
                farewell(&mut client, &report).await;
                client.close().await;
                return (Ending::because(cause, &report.message), 0);
            }
        };
        // Held to the end: it counts the visitors.
        let (registered, _place) = registered;
        let mut visit = Visit {
            client,
            conversation: Conversation::default(),
            input: ahead,
            out: Vec::new(),
            registered,
        };
        let end = match visit.greet(&startup).await {
            Ok(()) => visit.converse(self).await,
            Err(end) => end,
        };
        let pid = visit.registered.pid();
        let ending = match &end.report {
            Some(report) => {
                farewell(&mut visit.client, report).await;
                Ending::because(end.cause, &report.message)
            }
            None => Ending::of(end.cause),
        };
        visit.client.close().await;
        (ending, pid)
    }

    async fn let_in(
        &self,
        client: &Socket,
        startup: &Startup,
        registry: &Arc<Registry>,
    ) -> Result<(Registered, tokio::sync::OwnedSemaphorePermit), (Cause, Report)> {
        let group = self.group.as_deref();
        if let Err(stranger) = rights::admit(client, group).await {
            let refusal = report::not_allowed(&stranger, group);
            return Err((Cause::StartupRefused, refusal));
        }
        let place = Arc::clone(&self.visitors).try_acquire_owned();
        let place = place.map_err(|_| (Cause::MaxClients, report::too_many()))?;
        // Protocol 3.2 brought keys of more than 4 bytes (55.2.8).
        let length = match startup.minor {
            0 | 1 => KeyLength::Short,
            _ => KeyLength::Long,
        };
        let application = startup
            .settings
            .iter()
            .rfind(|(name, _)| name == "application_name")
            .map(|(_, value)| value.as_str());
        let database = startup.database.as_deref().unwrap_or_default();
        // It belongs to no route: what ends a route's sessions does not end it.
        let registered = registry.register(length, Origin::new("", database, application));
        let registered =
            registered.map_err(|error| (Cause::Internal, report::no_randomness(&error)))?;
        Ok((registered, place))
    }
}

impl Visit {
    async fn greet(&mut self, startup: &Startup) -> Result<(), End> {
        let out = &mut self.out;
        if startup.minor > message::NEWEST_MINOR || !startup.protocol_options.is_empty() {
            let minor = startup.minor.min(message::NEWEST_MINOR);
            message::negotiate_protocol_version(out, minor, &startup.protocol_options);
        }
        out.extend_from_slice(&message::AUTHENTICATION_OK);
        greeting(out);
        message::backend_key_data(out, self.registered.pid(), &self.registered.secret());
        message::ready_for_query(out, Status::Idle);
        self.registered.enter(Phase::Idle, Instant::now());
        poll_fn(|cx| {
            self.registered.entry.attach(cx.waker());
            Poll::Ready(())
        })
        .await;
        self.flush().await
    }

    async fn converse(&mut self, console: &Console) -> End {
        loop {
            if let Err(end) = self.turn(console).await {
                return end;
            }
        }
    }

    /// One message, or one command.
    async fn turn(&mut self, console: &Console) -> Result<(), End> {
        let step = self.conversation.step(&self.input, &mut self.out);
        let (step, taken) = match step {
            Ok(step) => step,
            Err(violation) => {
                self.flush().await?;
                let report = report::malformed(&violation);
                return Err(End::told(Cause::Malformed, report));
            }
        };
        self.input.drain(..taken);
        match step {
            Step::Quit => return Err(End::silent(Cause::Quit)),
            Step::Run(command) => self.run(console, &command).await?,
            Step::Taken if self.out.len() < MOST_OUT => {}
            Step::Taken => self.flush().await?,
            Step::Starved => {
                self.flush().await?;
                self.read().await?;
            }
        }
        Ok(())
    }

    /// What was answered before is sent first: the command may take its time.
    async fn run(&mut self, console: &Console, command: &Command) -> Result<(), End> {
        self.flush().await?;
        self.registered.enter(Phase::Active, Instant::now());
        let ran = self.unless_interrupted(console.run(command)).await;
        self.registered.enter(Phase::Idle, Instant::now());
        let answer = match ran {
            Ok(answer) => answer,
            Err(Interrupt::Cancelled) => {
                let resumed = console.give_up(command);
                Answer::Refused(report::cancelled(resumed))
            }
            Err(Interrupt::End(end)) => return Err(end),
        };
        self.conversation.answer(answer, &mut self.out);
        Ok(())
    }

    /// What `work` comes to, unless the client goes, or somebody wants it to end before.
    async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.registered.entry.take(Signal::Cancel) {
                return Poll::Ready(Err(Interrupt::Cancelled));
            }
            if let Some(end) = self.asked_to_end() {
                return Poll::Ready(Err(Interrupt::End(end)));
            }
            // A client that has gone is found out by reading, as far as there is room.
            while self.input.len() < READ {
                match self.poll_read(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(end)) => return Poll::Ready(Err(Interrupt::End(end))),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what comes next; a cancel request that nothing waits for is void.
    async fn read(&mut self) -> Result<(), End> {
        poll_fn(|cx| {
            let _ = self.registered.entry.take(Signal::Cancel);
            match self.asked_to_end() {
                Some(end) => Poll::Ready(Err(end)),
                None => self.poll_read(cx),
            }
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Self { client, input, .. } = self;
        let read = client.poll_read_with(cx, |bytes| {
            input.extend_from_slice(bytes);
            bytes.len()
        });
        read.map(|read| match read? {
            0 => Err(End::silent(Cause::Gone)),
            _ => Ok(()),
        })
    }

    fn asked_to_end(&self) -> Option<End> {
        let entry = &self.registered.entry;
        if !entry.any() {
            None
        } else if entry.is_raised(Signal::Kill) {
            Some(End::told(Cause::Killed, report::killed()))
        } else if entry.is_raised(Signal::Drain) {
            Some(End::told(Cause::Drain, report::stopping()))
        } else {
            None
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        let sending = self.client.write_all(&self.out);
        let sent = tokio::time::timeout(READING, sending).await;
        self.out.clear();
        sent.map_err(|_| End::silent(Cause::Gone))??;
        Ok(())
    }
}

/// A client that does not take its last message goes without it.
async fn farewell(client: &mut Socket, report: &Report) {
    let mut bytes = Vec::new();
    report.encode(&mut bytes);
    let _ = tokio::time::timeout(Duration::from_secs(5), client.write_all(&bytes)).await;
}
