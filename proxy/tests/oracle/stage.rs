//! Two databases that are alike, a way to each, and the comparison.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use entrapool_emulator::postgres::Postgres;

use crate::answers::{Answer, known};
use crate::direct::Direct;
use crate::intruder::{Intruder, MOODS, Mood};
use crate::script::Step;
use crate::sidecar::eighteen::{Eighteen, ROLE, eighteen};
use crate::sidecar::{Launch, Message, Raw, Shared, Sidecar, shared};

/// What the scripts find. Each role of the machine owns its database.
const SCENE: &str = "create table shared (n int); create sequence counter; \
     create table counted (n serial); \
     create schema app; create table app.shared (n int); insert into app.shared values (-1); \
     create function quiet(n int) returns int language sql as 'select n + 1'; \
     create function loud(v text) returns text language sql as \
     $$ select set_config('app.y', v, false) $$; \
     create function temporary() returns void language plpgsql as \
     $$ begin create temp table if not exists made (n int); insert into made values (1); end $$";
/// What is sent in one piece.
pub(crate) const WHOLE: usize = usize::MAX;
/// Longer than a session that listens keeps its backend.
const REST: Duration = Duration::from_millis(130);
/// Between scripts.
const AGAIN: &str = "truncate shared, counted restart identity; select nextval('counter'); \
     select lastval(); alter sequence counter restart";

/// The server below both.
#[derive(Clone)]
pub(crate) enum Ground {
    /// The machine's PostgreSQL, which checks tokens.
    Azure(Arc<Shared>),
    /// PostgreSQL 18, which checks a password.
    Eighteen(Arc<Eighteen>),
}

pub(crate) struct Stage {
    ground: Ground,
    plain: String,
    pooled: String,
    direct: Direct,
    pub(crate) proxy: Sidecar,
    clients: usize,
    options: &'static str,
}

/// What each client got for each of its steps, and the notifications that it got at all.
#[derive(Debug, PartialEq, Eq, Default)]
struct Course {
    answers: Vec<Vec<Answer>>,
    heard: Vec<Vec<Answer>>,
}

impl Stage {
    /// For scripts of so many clients, which connect with these options; each may need a backend
    /// for itself, and the intruder one.
    pub(crate) async fn set(mode: &str, clients: usize, options: &'static str) -> Self {
        Self::on(Ground::azure().await, mode, clients, options).await
    }

    /// The same on another server.
    pub(crate) async fn on(
        ground: Ground,
        mode: &str,
        clients: usize,
        options: &'static str,
    ) -> Self {
        let (plain, pooled) = (ground.new_database().await, ground.new_database().await);
        let direct = Direct::to(ground.socket()).await;
        let launch = ground.launch().database(&pooled).pool(clients + 1);
        let launch = launch.key("pool_mode", mode).log_level("info");
        let proxy = launch.start().await;
        let stage = Self {
            ground,
            plain,
            pooled,
            direct,
            proxy,
            clients,
            options,
        };
        stage.prepare(SCENE).await;
        stage
    }

    async fn prepare(&self, sql: &str) {
        for (address, database) in [
            (self.direct.address, &self.plain),
            (self.proxy.address(), &self.pooled),
        ] {
            let mut raw = self.client(address, database).await;
            let answer = raw.query(sql).await;
            for message in &answer {
                assert_ne!(message.tag, b'E', "{sql}: {:?}", message.fields());
            }
        }
    }

    async fn client(&self, address: SocketAddr, database: &str) -> Raw {
        let mut raw = Raw::dial(address).await;
        let role = self.ground.role();
        let parameters = [
            ("user", role),
            ("database", database),
            ("options", self.options),
        ];
        raw.startup(0x0003_0000, &parameters).await;
        raw.greeting().await;
        raw
    }

    /// Runs the script on both ways. `moods` is used over and over; what the clients send to
    /// entrapool is cut into pieces of at most `piece` bytes.
    ///
    /// # Errors
    /// What differs, in words.
    pub(crate) async fn compare(
        &self,
        script: &[Step],
        moods: &[Mood],
        piece: usize,
    ) -> Result<(), String> {
        self.prepare(AGAIN).await;
        let plain = self
            .play(self.direct.address, &self.plain, (script, &[], WHOLE))
            .await;
        let pooled = self
            .play(self.proxy.address(), &self.pooled, (script, moods, piece))
            .await;
        for (index, (step, (want, got))) in script
            .iter()
            .zip(plain.answers.iter().zip(&pooled.answers))
            .enumerate()
        {
            if want != got && !known(want, got) {
                return Err(format!(
                    "step {index}, {step:?}\n  direct: {want:?}\n  pooled: {got:?}\nof {script:#?}"
                ));
            }
        }
        if plain.heard != pooled.heard {
            return Err(format!(
                "notifications\n  direct: {:?}\n  pooled: {:?}\nof {script:#?}",
                plain.heard, pooled.heard
            ));
        }
        Ok(())
    }

    async fn play(
        &self,
        address: SocketAddr,
        database: &str,
        (script, moods, piece): (&[Step], &[Mood], usize),
    ) -> Course {
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            clients.push(self.client(address, database).await);
        }
        let mut intruder = match moods.is_empty() {
            true => None,
            false => Some(Intruder::begin(self.client(address, database).await).await),
        };
        let mut course = Course {
            answers: Vec::new(),
            heard: vec![Vec::new(); clients.len()],
        };
        let listens = script
            .iter()
            .any(|step| format!("{step:?}").contains("listen"));
        for (index, (step, mood)) in script
            .iter()
            .zip(moods.iter().chain([&Mood::Away]).cycle())
            .enumerate()
        {
            if let Some(intruder) = &mut intruder {
                if listens && index % 8 == 5 {
                    tokio::time::sleep(REST).await;
                }
                intruder.before(*mood).await;
            }
            let raw = &mut clients[step.who];
            for piece in step.bytes.chunks(piece) {
                raw.send(piece).await;
                tokio::task::yield_now().await;
            }
            let mut answers = Vec::new();
            for _ in 0..step.readies {
                for message in raw.until(b'Z').await {
                    sort(
                        Answer::of(&message),
                        &mut answers,
                        &mut course.heard[step.who],
                    );
                }
            }
            course.answers.push(answers);
            if let Some(intruder) = &mut intruder {
                intruder.after(*mood).await;
            }
        }
        if listens {
            for (raw, heard) in clients.iter_mut().zip(&mut course.heard) {
                heard.extend(last_heard(raw).await);
            }
        }
        course
    }
}

impl Ground {
    pub(crate) async fn azure() -> Self {
        Self::Azure(shared().await)
    }

    pub(crate) async fn eighteen() -> Self {
        Self::Eighteen(eighteen().await)
    }

    fn postgres(&self) -> &Postgres {
        match self {
            Self::Azure(azure) => azure.real_postgres().expect("a real PostgreSQL"),
            Self::Eighteen(server) => &server.postgres,
        }
    }

    fn socket(&self) -> PathBuf {
        let postgres = self.postgres();
        let name = format!(".s.PGSQL.{}", postgres.port());
        postgres.socket_directory().join(name)
    }

    fn role(&self) -> &str {
        match self {
            Self::Azure(azure) => azure.role(),
            Self::Eighteen(_) => ROLE,
        }
    }

    fn launch(&self) -> Launch {
        match self {
            Self::Azure(azure) => Sidecar::on(azure),
            Self::Eighteen(server) => Sidecar::with_password(server),
        }
    }

    async fn new_database(&self) -> String {
        match self {
            Self::Azure(azure) => azure.new_database().await,
            Self::Eighteen(server) => server.new_database().await,
        }
    }
}

/// Everything that is still on its way: notifications come in the order of their making.
async fn last_heard(raw: &mut Raw) -> Vec<Answer> {
    raw.query("rollback").await;
    let mut messages = raw.query("listen the_end; notify the_end").await;
    let is_last = |message: &Message| message.tag == b'A' && message.body.ends_with(b"the_end\0\0");
    while !messages.iter().any(is_last) {
        messages.push(raw.next().await.expect("the last notification"));
    }
    let heard = messages.iter().map(Answer::of);
    heard.filter(Answer::is_notification).collect()
}

fn sort(answer: Answer, answers: &mut Vec<Answer>, heard: &mut Vec<Answer>) {
    if answer.is_notification() {
        heard.push(answer);
    } else {
        answers.push(answer);
    }
}

/// Moods that differ from step to step, for scripts that are written by hand.
pub(crate) fn every_mood(shift: usize) -> Vec<Mood> {
    (0..MOODS.len() + 1)
        .map(|n| MOODS[(n * 3 + shift) % MOODS.len()])
        .collect()
}
